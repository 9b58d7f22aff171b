// An API of orders with the Hono router: API Gateway version 2 events in, HTTP responses out.
import { Hono } from "hono";
import { handle } from "hono/aws-lambda";
import { validator } from "hono/validator";

const prices = new Map([
  ["cards", 1250],
  ["gears", 8700],
]);

const order = validator("json", (value, c) => {
  const items = value?.items;
  if (!Array.isArray(items) || items.length === 0) {
    return c.json({ error: "items must be a list that is not empty" }, 400);
  }
  for (const { sku, quantity } of items) {
    if (!prices.has(sku)) return c.json({ error: `unknown sku: ${sku}` }, 400);
    if (!Number.isInteger(quantity) || quantity < 1) {
      return c.json({ error: `quantity of ${sku} must be a whole number from 1` }, 400);
    }
  }
  return { items };
});

const app = new Hono();

app.get("/prices/:sku", (c) => {
  const sku = c.req.param("sku");
  return prices.has(sku) ? c.json({ sku, cents: prices.get(sku) }) : c.json({ error: `unknown sku: ${sku}` }, 404);
});

app.post("/orders", order, (c) => {
  const { items } = c.req.valid("json");
  const cents = items.reduce((sum, { sku, quantity }) => sum + prices.get(sku) * quantity, 0);
  console.log(`order of ${items.length} items, ${cents} cents`);
  return c.json({ items: items.length, cents }, 201);
});

app.notFound((c) => c.json({ error: `no route: ${c.req.method} ${c.req.path}` }, 404));

export const handler = handle(app);
