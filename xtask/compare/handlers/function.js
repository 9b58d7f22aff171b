// For the Functions Framework of Node.js.
exports.hello = (request, response) => {
  response.json({ message: 'hello ' + request.body.name });
};
