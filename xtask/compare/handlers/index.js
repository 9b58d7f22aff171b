// For Neap and serverless-offline, by an HTTP event.
exports.handler = async (event) => ({ message: 'hello ' + JSON.parse(event.body).name });
