// Greets whom the event names.
addEventListener("fetch", (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  console.error("from JavaScript");
  const { name, reach } = await request.json();
  let reached = null;
  if (reach) {
    try {
      reached = (await fetch(reach)).status;
    } catch (error) {
      reached = "refused";
    }
  }
  const body = JSON.stringify({ hello: name, reached });
  return new Response(body, { headers: { "content-type": "application/json" } });
}
