// Each request is served by a worker of its own: a new isolate in the running process.
import code from 'hello.js';

let loaded = 0;

export default {
  async fetch(request, env) {
    loaded += 1;
    const worker = env.LOADER.get('hello ' + loaded, () => ({
      compatibilityDate: '2026-11-01',
      mainModule: 'worker.js',
      modules: { 'worker.js': code },
    }));
    return worker.getEntrypoint().fetch(request);
  },
};
