// Runs a Lambda function written for Node.js: loads the handler, then answers events that come over descriptor 3.
//
// The protocol is described in `frames.rs`, the behaviour follows Lambda's managed runtimes. Works from Node.js 18 on.
//
// Started as a stem cell (`cells.rs`) it waits for the environment of its function: nothing here may look at that, the
// function's folders or the clock before `run`.
"use strict";

const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const util = require("node:util");

const CHANNEL = 3;
const BOOTED = 1;
const READY = 2;
const INIT_ERROR = 3;
const RESPONSE = 4;
const ERROR = 5;
const STREAM_START = 6;
const STREAM_DATA = 7;
const STREAM_END = 8;
const STREAM_ERROR = 9;
/** Most data in one STREAM_DATA frame. */
const PIECE_MAX = 64 * 1024;
const FINAL_ERROR = 10;
const WAITING = 11;
/** Of the daemon's frames, besides events. */
const BEGIN = 2;
const ATTACHED = 4;
/** Where the identifier of an event begins, and what comes after the lengths behind it. */
const EVENT_ID = 13;
const EVENT_HEADER = 57;
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const REQUEST_ID = Symbol.for("aws.lambda.runtime.requestId");
const TRACE = "_X_AMZN_TRACE_ID";
const env = process.env;

// ------------------------------------------------------------------------------------------------------------ errors

for (const name of [
  "ImportModuleError", "HandlerNotFound", "MalformedHandlerName", "UserCodeSyntaxError", "MalformedStreamingHandler",
  "InvalidStreamingOperation", "UnhandledPromiseRejection",
]) {
  const kind = { [name]: class extends Error {} }[name];
  kind.prototype.name = `Runtime.${name}`;
  module.exports[name] = kind;
}
const errors = module.exports;

function isError(value) {
  return util.types.isNativeError(value) ||
    (value && typeof value.name === "string" && typeof value.message === "string" && typeof value.stack === "string");
}

function intoError(value) {
  return value instanceof Error ? value : new Error(value);
}

/** What Lambda tells the caller about anything thrown. */
function report(error) {
  try {
    if (isError(error)) {
      const clean = (text) => text?.replace(/\x7F/g, "%7F");
      return { errorType: clean(error.name), errorMessage: clean(error.message), trace: clean(error.stack).split("\n") };
    }
    return { errorType: typeof error, errorMessage: error.toString(), trace: [] };
  } catch {
    return {
      errorType: "handled",
      errorMessage:
        "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack",
    };
  }
}

// ----------------------------------------------------------------------------------------------------------- logging

let jsonLogs;
const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/** Writes all of `data`, also when the pipe is full and does not block. */
function writeAll(fd, data) {
  for (let done = 0; done < data.length;) {
    try {
      done += fs.writeSync(fd, data, done);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** Writes one record of any number of lines. */
function logFrame(type, date, text) {
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(16 + length);
  frame.writeUInt32BE(type, 0);
  frame.writeUInt32BE(length, 4);
  frame.writeBigUInt64BE(BigInt(date.valueOf()) * 1000n, 8);
  frame.utf8Write(text, 16, length);
  writeAll(1, frame);
}

function logText(level, ...values) {
  const date = new Date();
  logFrame(0xa55a0003, date, `${date.toISOString()}\t${globalThis[REQUEST_ID]}\t${level}\t${util.format(...values)}`);
}

function jsonError(_, value) {
  if (!(value instanceof Error)) return value;
  const stackTrace = typeof value.stack === "string" ? value.stack.split("\n") : value.stack;
  return { errorType: value.constructor?.name ?? "UnknownError", errorMessage: value.message, stackTrace, ...value };
}

function logJson(level, ...values) {
  const date = new Date();
  const record = { timestamp: date.toISOString(), level, requestId: globalThis[REQUEST_ID] };
  let text;
  if (values.length === 1) {
    try {
      text = JSON.stringify({ ...record, message: values[0] }, jsonError);
    } catch {
      text = JSON.stringify({ ...record, message: util.format(values[0]) });
    }
  } else {
    record.message = util.format(...values);
    const error = values.find((value) => value instanceof Error);
    if (error) {
      record.errorType = error.constructor?.name ?? "UnknownError";
      record.errorMessage = error.message;
      record.stackTrace = typeof error.stack === "string" ? error.stack.split("\n") : [];
    }
    text = JSON.stringify(record);
  }
  logFrame(0xa55a0002, date, text);
}

function patchConsole() {
  const log = jsonLogs ? logJson : logText;
  const least = Math.max(0, LEVELS.indexOf(env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));
  for (const [index, level] of LEVELS.entries()) {
    console[level.toLowerCase()] = index >= least ? log.bind(null, level) : () => {};
  }
  console.log = console.info;
}

function logError(title, error) {
  if (jsonLogs) {
    console.error(intoError(error));
    return;
  }
  let text;
  try {
    const { name, message, code, stack } = intoError(error);
    text = JSON.stringify({ errorType: name, errorMessage: message, code, ...intoError(error), stack: stack.split("\n") });
  } catch {
    text = JSON.stringify(report(error));
  }
  console.error(title, `\t${text}`);
}

// ----------------------------------------------------------------------------------------------------------- channel

let socket;
/** Where frames are written: elsewhere only in a rehearsal. */
let channel = CHANNEL;
/** Where frames of short texts are made, so that none needs memory of its own. */
const outbox = Buffer.allocUnsafeSlow(16 * 1024);

/** Sends one frame; returns false when the socket's buffer is full, then `drained` is called later. */
function send(kind, body, drained) {
  const isText = typeof body === "string";
  // A character takes at most three bytes.
  const isShort = isText && body.length <= (outbox.length - 5) / 3;
  let frame = outbox;
  let length;
  if (isShort) {
    length = outbox.utf8Write(body, 5);
  } else {
    length = isText ? Buffer.byteLength(body) : body.length;
    frame = Buffer.allocUnsafe(5 + length);
    if (isText) frame.utf8Write(body, 5, length);
    else frame.set(body, 5);
  }
  frame.writeUInt32LE(length + 1, 0);
  frame[4] = kind;
  length += 5;
  let done = 0;
  if (socket.writableLength === 0) {
    // The common case: one system call, no queue.
    try {
      done = fs.writeSync(channel, frame, 0, length);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
  if (done < length) {
    const rest = frame.subarray(done, length);
    socket.ref(); // the rest must leave even if the function waits for nothing else
    socket.write(isShort ? Buffer.from(rest) : rest, drained);
    return false;
  }
  drained?.();
  return true;
}

/** Sends a stream's data in frames of at most PIECE_MAX bytes, each when the one before it has left. */
function sendPieces(data, done) {
  let at = 0;
  let waiting = false;
  const next = () => {
    waiting = false;
    while (!waiting && data.length - at > PIECE_MAX) {
      const piece = data.subarray(at, (at += PIECE_MAX));
      let sync = true;
      waiting = !send(STREAM_DATA, piece, () => sync || next());
      sync = false;
    }
    if (!waiting) send(STREAM_DATA, at ? data.subarray(at) : data, done);
  };
  next();
}

/** The body of an error frame. */
function errorBody(error) {
  const told = report(error);
  const name = Buffer.from(String(told.errorType ?? "")).subarray(0, 1024);
  const length = Buffer.alloc(2);
  length.writeUInt16LE(name.length, 0);
  return Buffer.concat([length, name, Buffer.from(JSON.stringify(told))]);
}

function sendError(kind, error, drained) {
  send(kind, errorBody(error), drained);
}

const inbox = Buffer.allocUnsafeSlow(64 * 1024);
/** Pieces of an event that is longer than the inbox. */
let held = [];
let heldLength = 0;
let handleEvent = null;

/** Takes bytes as they arrive; the buffer is written again when it returns. */
function receive(length, buffer) {
  let data = buffer;
  if (held.length || length < 4 || length < 4 + buffer.readUInt32LE(0)) {
    data = gather(buffer.subarray(0, length));
    if (!data) return true;
    length = data.length;
  }
  const end = 4 + data.readUInt32LE(0);
  if (data[4] === BEGIN) {
    adopt(data.utf8Slice(5, end));
    prepare();
    return length === end || receive(length - end, data.subarray(end, length));
  }
  if (data[4] === ATTACHED) become(data.utf8Slice(5, end));
  else handleEvent(readEvent(data, end));
  return true;
}

/** Keeps a piece of a frame; returns the frame once it is whole. */
function gather(piece) {
  const copy = Buffer.from(piece);
  // The first four bytes tell the length: they must be in one piece.
  if (held.length && held[0].length < 4) held[0] = Buffer.concat([held[0], copy]);
  else held.push(copy);
  heldLength += copy.length;
  if (held[0].length < 4 || heldLength < 4 + held[0].readUInt32LE(0)) return null;
  const whole = Buffer.concat(held);
  held = [];
  heldLength = 0;
  return whole;
}

/** The event in the first `end` bytes of `data`, made of few calls: each costs as much as all that is read. */
function readEvent(data, end) {
  const arn = EVENT_HEADER + data.readUInt16LE(49);
  const trace = arn + data.readUInt16LE(51);
  const client = trace + data.readUInt32LE(53);
  // Of these a byte is a character.
  const head = data.latin1Slice(EVENT_ID, trace);
  return {
    id: head.substring(0, 36),
    // Milliseconds since 1970, without a BigInt on the way.
    deadline: data.readUInt32LE(5) + data.readInt32LE(9) * 0x1_0000_0000,
    arn: head.substring(44, arn - EVENT_ID),
    trace: head.substring(arn - EVENT_ID),
    client: client === trace ? "" : data.utf8Slice(trace, client),
    payload: data.utf8Slice(client, end),
  };
}

function connect() {
  socket = new net.Socket({ fd: CHANNEL, readable: true, writable: true, onread: { buffer: inbox, callback: receive } });
  socket.on("error", () => process.exit(0));
  socket.on("close", () => process.exit(0));
}

// ------------------------------------------------------------------------------------------------------------ context

let functionName;
let functionVersion;
let memoryLimitInMB;
let logGroupName;
let logStreamName;
let tenantId;

/** Takes what is needed of the environment, and away what is nobody else's business. */
function readEnvironment() {
  jsonLogs = env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
  functionName = env.AWS_LAMBDA_FUNCTION_NAME;
  functionVersion = env.AWS_LAMBDA_FUNCTION_VERSION;
  memoryLimitInMB = env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE;
  logGroupName = env.AWS_LAMBDA_LOG_GROUP_NAME;
  logStreamName = env.AWS_LAMBDA_LOG_STREAM_NAME;
  tenantId = env._NEAP_TENANT_ID;
  delete env._NEAP_TENANT_ID;
  delete env._LAMBDA_TELEMETRY_LOG_FD;
}

function parseClientContext(text) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ClientContext as json: ${error}`);
  }
}

/** The trace of the invocation, unless the function has set another. */
let trace;

function begin(event) {
  globalThis[REQUEST_ID] = event.id;
  trace = event.trace;
}

/**
 * Shows the trace in the environment without setting it there: the C library never gives back a value that it has been told, so
 * that each invocation would take memory for good. Programs that the function starts get the environment from here.
 */
function showTrace() {
  const shown = (name) => name === TRACE && trace !== undefined;
  process.env = new Proxy(env, {
    get: (own, name) => (shown(name) ? trace : own[name]),
    has: (own, name) => shown(name) || name in own,
    ownKeys: (own) => (trace === undefined ? Reflect.ownKeys(own) : [...Reflect.ownKeys(own).filter((name) => name !== TRACE), TRACE]),
    getOwnPropertyDescriptor: (own, name) =>
      shown(name)
        ? { value: trace, writable: true, enumerable: true, configurable: true }
        : Reflect.getOwnPropertyDescriptor(own, name),
    set(own, name, value) {
      if (name === TRACE) trace = undefined;
      return Reflect.set(own, name, value);
    },
    defineProperty(own, name, described) {
      if (name === TRACE) trace = undefined;
      return Reflect.defineProperty(own, name, described);
    },
    deleteProperty(own, name) {
      if (name === TRACE) trace = undefined;
      return Reflect.deleteProperty(own, name);
    },
  });
}

/** What a function is told of its invocation. Plain data, no accessors: objects with these are slow to make. */
function describe(event, done) {
  const { deadline } = event;
  return {
    callbackWaitsForEmptyEventLoop: true,
    done,
    succeed: (result) => done(null, result),
    fail: (error) => done(given(error) ? error : "handled"),
    functionVersion,
    functionName,
    memoryLimitInMB,
    logGroupName,
    logStreamName,
    clientContext: parseClientContext(event.client),
    identity: undefined,
    invokedFunctionArn: event.arn,
    awsRequestId: event.id,
    tenantId,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

// ------------------------------------------------------------------------------------------------------------ invoking

/**
 * What is going on: first the initialisation, then each invocation. `idle` is called when nothing is left to wait for, `fatal`
 * with what nobody caught.
 */
let current = {
  idle() {},
  fatal: (error, code) => sendError(INIT_ERROR, error, () => process.exit(code)),
};

process.on("beforeExit", () => current.idle());

function given(error) {
  return error !== undefined && error !== null;
}

function isPromise(value) {
  return typeof value?.then === "function";
}

function serialize(value) {
  try {
    return JSON.stringify(value === undefined ? null : value) ?? "null";
  } catch {
    throw new Error("Unable to stringify response body");
  }
}

/** An invocation whose answer is sent as a whole. */
class Buffered {
  constructor() {
    this.told = false;
    /** Whether the function has said that it is done, by the callback or its context. */
    this.finished = false;
    /** Whether the channel does not keep the process alive, so that `beforeExit` tells when the function is idle. */
    this.apart = false;
    /** What is answered when it is. */
    this.result = null;
  }

  answer(kind, body) {
    if (this.told) return;
    this.told = true;
    if (this.apart) socket.ref();
    send(kind, body);
  }

  fail(error) {
    if (this.told) return;
    logError("Invoke Error", error);
    this.answer(ERROR, errorBody(error));
  }

  complete(result) {
    let body;
    try {
      body = serialize(result);
    } catch (error) {
      this.fail(error);
      return;
    }
    this.answer(RESPONSE, body);
  }

  idle() {
    if (!this.told) this.complete(this.result);
  }

  fatal(error, code) {
    if (this.told) process.exit(code);
    this.told = true;
    socket.ref();
    sendError(FINAL_ERROR, error, () => process.exit(code));
  }

  /** Called once the function has returned and what it had ready has been answered. */
  wait() {
    if (this.told) return;
    this.apart = true;
    socket.unref();
  }
}

const SETTLED = Promise.resolve();

function runBuffered(handler, event) {
  begin(event);
  const invocation = new Buffered();
  current = invocation;
  const done = (error, result) => {
    if (invocation.finished) return;
    invocation.finished = true;
    if (given(error)) invocation.fail(error);
    else invocation.complete(result);
  };
  const callback = (error, result) => {
    if (invocation.finished) return;
    invocation.finished = true;
    if (given(error)) invocation.fail(error);
    else if (!context.callbackWaitsForEmptyEventLoop) invocation.complete(result);
    else invocation.result = result;
  };
  let context;
  try {
    const input = JSON.parse(event.payload);
    context = describe(event, done);
    const result = handler(input, context, callback);
    if (isPromise(result)) {
      result.then(context.succeed, context.fail);
      // Behind the promises that are settled already, so that an answer without waiting costs nothing more.
      SETTLED.then(() => invocation.wait());
      return;
    }
  } catch (error) {
    callback(error === undefined || error === null ? new Error(String(error)) : error);
  }
  invocation.wait();
}

// ----------------------------------------------------------------------------------------------------------- streaming

function makeResponseStream(highWaterMark, isOver) {
  const { Writable } = require("node:stream");
  let started = false;
  let contentType = "application/octet-stream";
  const start = () => {
    if (started) return;
    started = true;
    send(STREAM_START, contentType);
    if (typeof stream._onBeforeFirstWrite === "function") {
      stream._onBeforeFirstWrite((chunk) => sendPieces(typeof chunk === "string" ? Buffer.from(chunk) : chunk));
    }
  };
  const stream = new Writable({
    highWaterMark,
    write(chunk, _encoding, callback) {
      if (isOver()) return callback();
      start();
      sendPieces(chunk, callback);
    },
    final(callback) {
      if (!isOver()) start();
      callback();
    },
  });
  const write = stream.write.bind(stream);
  stream.write = (chunk, ...rest) => {
    const plain = typeof chunk === "string" || Buffer.isBuffer(chunk) || chunk?.constructor === Uint8Array;
    return write(plain ? chunk : JSON.stringify(chunk), ...rest);
  };
  stream.setContentType = (type) => {
    if (started) throw new errors.InvalidStreamingOperation("Cannot set content-type, too late.");
    contentType = String(type);
  };
  return { stream, hasStarted: () => started };
}

async function runStreaming(handler, event) {
  let over = false;
  socket.unref();
  begin(event);
  const { stream, hasStarted } = makeResponseStream(handler[HIGH_WATER_MARK], () => over);
  const end = (kind, body, after) => {
    if (over) return;
    over = true;
    socket.ref();
    send(kind, body, after);
  };
  const fail = (error) => {
    if (over) return;
    logError("Invoke Error", error);
    end(hasStarted() ? STREAM_ERROR : ERROR, errorBody(error));
  };
  current = {
    idle: () => fail("Response stream is not finished."),
    fatal(error, code) {
      if (over) process.exit(code);
      end(hasStarted() ? STREAM_ERROR : FINAL_ERROR, errorBody(error), () => process.exit(code));
    },
  };
  stream.on("error", fail);
  try {
    const input = JSON.parse(event.payload);
    const { done, succeed, fail: _, ...context } = describe(event);
    const result = handler(input, stream, context);
    if (!isPromise(result)) return fail("Streaming does not support non-async handlers.");
    if ((await result) !== undefined) console.warn("Streaming handlers ignore return values.");
    if (stream.writableEnded && !stream.writableFinished) {
      await new Promise((resolve) => stream.once("finish", resolve).once("error", resolve));
    }
    if (!stream.writableFinished) return fail("Response stream is not finished.");
    end(STREAM_END, "");
  } catch (error) {
    fail(error);
  }
}

function defineAwsLambda() {
  if (["1", "true"].includes(env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: class HttpResponseStream {
      static from(stream, prelude) {
        stream.setContentType("application/vnd.awslambda.http-integration-response");
        const text = JSON.stringify(prelude);
        stream._onBeforeFirstWrite = (write) => {
          write(text);
          write(new Uint8Array(8));
        };
        return stream;
      }
    },
  };
}

// ------------------------------------------------------------------------------------------------------------- loading

function isModulePackage(folder) {
  for (; !folder.endsWith("/node_modules"); folder = path.dirname(folder)) {
    const file = path.join(folder, "package.json");
    if (fs.existsSync(file)) {
      try {
        return JSON.parse(fs.readFileSync(file, "utf8"))?.type === "module";
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === "/") break;
  }
  return false;
}

async function loadModule(root, folder, name) {
  const base = path.resolve(root, folder, name);
  if (fs.existsSync(base) && fs.statSync(base).isFile()) return require(base);
  if (fs.existsSync(`${base}.js`)) {
    return isModulePackage(path.dirname(base)) ? import(`${base}.js`) : require(`${base}.js`);
  }
  if (fs.existsSync(`${base}.mjs`)) return import(`${base}.mjs`);
  if (fs.existsSync(`${base}.cjs`)) return require(`${base}.cjs`);
  return require(require.resolve(name, { paths: [root, path.resolve(root, folder)] }));
}

async function loadHandler(root, full) {
  if (full.includes("..")) {
    throw new errors.MalformedHandlerName(
      `'${full}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const last = path.basename(full);
  const match = /^([^.]*)\.(.*)$/.exec(last);
  if (!match) throw new errors.MalformedHandlerName("Bad handler");
  let loaded;
  try {
    loaded = await loadModule(root, full.substring(0, full.indexOf(last)), match[1]);
  } catch (error) {
    if (error instanceof SyntaxError) throw new errors.UserCodeSyntaxError(error);
    if (error?.code === "MODULE_NOT_FOUND") throw new errors.ImportModuleError(error);
    throw error;
  }
  const handler = match[2].split(".").reduce((value, key) => value && value[key], loaded);
  if (!handler) throw new errors.HandlerNotFound(`${full} is undefined or not exported`);
  if (typeof handler !== "function") throw new errors.HandlerNotFound(`${full} is not a function`);
  if (![undefined, null, false, "response"].includes(handler[STREAMING])) {
    throw new errors.MalformedStreamingHandler("Only response streaming is supported.");
  }
  return handler;
}

// ------------------------------------------------------------------------------------------------------------- running

const uptime = process.uptime;
/** How old this process was when it became a function's. */
let waited = 0;

/** Waits for a function, with what every function needs done already. */
async function wait() {
  // The loaders of modules, the threads that read files and much else are made when they are first used.
  await import("/var/runtime/empty.mjs");
  await rehearse();
  // `require.cache` and the like have only what a function has loaded.
  const { _pathCache } = require("node:module");
  for (const known of [require.cache, _pathCache]) {
    for (const key of Object.keys(known)) if (key.startsWith("/var/runtime/empty")) delete known[key];
  }
  module.children.length = 0;
  process.uptime = () => uptime() - waited;
  // With nothing left to do: what is frozen in the middle of its work goes on with it when it is thawed.
  setImmediate(() => setImmediate(() => send(WAITING, "")));
}

/**
 * Goes the way of a start and its first event, since code is compiled when it is first called; and more than once, since from then on
 * it is known what kinds of values it meets. Nothing of it stays.
 */
async function rehearse() {
  const own = [...Object.entries(known).map(([name, value]) => `${name}=${value}`), ""].join("\0");
  for (let times = 0; times < 8; times++) {
    adopt(`_NEAP_REHEARSAL=${times}\0${own}`);
    prepare();
    process.removeAllListeners("uncaughtException").removeAllListeners("unhandledRejection");
    process.chdir("/");
  }
  adopt(own);
  require("node:module")._initPaths();
  rehearseReading();
  const initialisation = current;
  channel = fs.openSync("/dev/null", "w");
  handleEvent = (event) => runBuffered(async (value) => value, event);
  const payload = '{"":""}';
  const frame = Buffer.alloc(EVENT_HEADER + payload.length);
  frame.writeUInt32LE(frame.length - 4, 0);
  frame.latin1Write(payload, EVENT_HEADER);
  for (let times = 0; times < 4; times++) {
    await loadHandler("/var/runtime", "empty.handler").catch(() => {}); // it has none
    delete require.cache["/var/runtime/empty.js"];
    receive(frame.length, frame);
    // The answer is told when the promise of the handler is.
    await new Promise((done) => setImmediate(done));
  }
  await new Promise((done) => process.nextTick(done));
  uptime();
  fs.closeSync(channel);
  channel = CHANNEL;
  handleEvent = null;
  current = initialisation;
  trace = undefined;
  util.format("%s", "");
  delete globalThis[REQUEST_ID];
  delete globalThis.awslambda;
}

/** Has Node.js compile what it calls when the channel has bytes. None have come yet, so that it does nothing more. */
function rehearseReading() {
  for (let times = 0; times < 8 && socket.bytesRead === 0 && !socket.destroyed; times++) {
    try {
      socket._handle.onread();
    } catch {
      // Where it is made otherwise it is compiled later.
      return;
    }
  }
}

/** The files of the function are there that this process is now for; it works in `folder`. */
const become = (function become(folder) {
  process.chdir(folder);
  waited = uptime();
  // Not from within the channel's callback, which would be in the stack of what the function throws.
  process.nextTick(run);
});

/** The environment as this program has set it, where looking costs less; nobody else does while it waits. */
let known = { __proto__: null, ...env };

/** Takes the environment of a function: `text` has variables, a zero after each. Touches no file. */
function adopt(text) {
  const taken = { __proto__: null };
  for (let at = 0, end; (end = text.indexOf("\0", at)) !== -1; at = end + 1) {
    const equals = text.indexOf("=", at);
    const name = text.substring(at, equals);
    const value = text.substring(equals + 1, end);
    taken[name] = value;
    // Some have effects when they are set.
    if (known[name] !== value) env[name] = value;
  }
  for (const name in known) if (!(name in taken)) delete env[name];
  const paths = known.NODE_PATH !== taken.NODE_PATH || known.HOME !== taken.HOME;
  known = taken;
  if (paths) require("node:module")._initPaths();
}

function main() {
  connect();
  showTrace();
  if (env._NEAP_STEM_CELL) {
    wait();
  } else {
    prepare();
    run();
  }
}

/** Everything that only the environment decides. */
function prepare() {
  readEnvironment();
  patchConsole();
  defineAwsLambda();
  process.on("uncaughtException", (error) => {
    logError("Uncaught Exception", error);
    current.fatal(error, 129);
  });
  process.on("unhandledRejection", (reason, promise) => {
    const error = new errors.UnhandledPromiseRejection(reason);
    Object.assign(error, { reason, promise });
    logError("Unhandled Promise Rejection", error);
    current.fatal(error, 128);
  });
}

// In parentheses it is compiled at once.
const run = (async function run() {
  send(BOOTED, "");
  let handler;
  try {
    handler = await loadHandler(env.LAMBDA_TASK_ROOT ?? "/var/task", env._HANDLER ?? "");
  } catch (error) {
    logError("Uncaught Exception", error);
    current.fatal(error, 129);
    return;
  }
  const run = handler[STREAMING] ? runStreaming : runBuffered;
  handleEvent = (function handleEvent(event) {
    run(handler, event);
  });
  send(READY, "");
});

main();
