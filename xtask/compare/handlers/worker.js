// For workerd and Deno: both serve a default export with `fetch`.
export default {
  async fetch(request) {
    const { name } = await request.json();
    return Response.json({ message: 'hello ' + name });
  },
};
