using Workerd = import "/workerd/workerd.capnp";

# A worker that loads another one for each request.
const config :Workerd.Config = (
  services = [(name = "loader", worker = .loader)],
  sockets = [(name = "http", http = (), service = "loader")],
);

const loader :Workerd.Worker = (
  modules = [
    (name = "loader.js", esModule = embed "loader.js"),
    (name = "hello.js", text = embed "worker.js"),
  ],
  bindings = [(name = "LOADER", workerLoader = ())],
  compatibilityDate = "2026-11-01",
);
