# For the Functions Framework of Python.
def hello(request):
    return {"message": "hello " + request.get_json()["name"]}
