using Workerd = import "/workerd/workerd.capnp";

# One worker behind one socket, whose address comes by the command line.
const config :Workerd.Config = (
  services = [(name = "hello", worker = .hello)],
  sockets = [(name = "http", http = (), service = "hello")],
);

const hello :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-11-01",
);
