// Runs a folder's job.py on MicroPython (WebAssembly build), with the network of this machine: node micropython.mjs FOLDER
//
// Lives here: the bridge. The WebAssembly build has no sockets, and its Python cannot wait. So Python runs in the main
// thread, which may stand still; a worker owns the sockets. One call is one message to the worker, a sleep until the
// worker wakes us, and one message back.
// Does not live here: what Python sees of it (board/socket.py).
//
// Bytes cross the bridge as hex. A failure crosses as its errno, so that Python raises the OSError of a board.

import dns from "node:dns/promises";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, MessageChannel, receiveMessageOnPort, Worker, workerData } from "node:worker_threads";

const ECONNABORTED = 103;
const ETIMEDOUT = 110;
const BITE = 50; // octets that one send() takes: a board's stack is full soon, too, and the sender must cope

if (isMainThread) {
  process.exitCode = await runBoard(process.argv[2]);
} else {
  serveSockets(workerData.port, new Int32Array(workerData.bell));
}

// --- main thread: the board ---------------------------------------------------------------------------------------

async function runBoard(folder) {
  const { loadMicroPython } = await import("@micropython/micropython-webassembly-pyscript/micropython.mjs");
  const { call, close } = openBridge();
  const board = await loadMicroPython({ stdout: (line) => console.log(line), linebuffer: true });
  board.registerJsModule("_bridge", { call });
  const flash = [path.join(path.dirname(fileURLToPath(import.meta.url)), "board"), folder];
  for (const source of flash) {
    for (const file of fs.readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isFile())) {
      board.FS.writeFile("/" + file.name, fs.readFileSync(path.join(source, file.name)));
    }
  }
  try {
    board.runPython("exec(open('job.py').read())");
    return 0;
  } catch (error) {
    console.error(error.message);
    return 1;
  } finally {
    close();
  }
}

function openBridge() {
  const { port1, port2 } = new MessageChannel();
  const bell = new SharedArrayBuffer(4);
  const ring = new Int32Array(bell);
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { port: port2, bell },
    transferList: [port2],
  });
  function call(name, ...words) {
    Atomics.store(ring, 0, 0);
    port1.postMessage([name, ...words]);
    while (Atomics.load(ring, 0) === 0) Atomics.wait(ring, 0, 0); // the last answer's bell may ring late
    return receiveMessageOnPort(port1).message;
  }
  return { call, close: () => worker.terminate() };
}

// --- worker thread: the sockets -----------------------------------------------------------------------------------

function serveSockets(port, ring) {
  const lines = new Map();
  let last = 0;
  const calls = {
    resolve: async (host) => (await dns.lookup(host, 4)).address,
    connect: async (host, number, seconds) => {
      lines.set(++last, new Line());
      await lines.get(last).connect(host, number, seconds);
      return last;
    },
    send: (id, hex, seconds) => lines.get(id).send(Buffer.from(hex, "hex").subarray(0, BITE), seconds),
    recv: async (id, most, seconds) => (await lines.get(id).recv(most, seconds)).toString("hex"),
    close: async (id) => lines.get(id).close(),
  };
  port.on("message", async ([name, ...words]) => {
    let answer;
    try {
      answer = { value: await calls[name](...words), errno: 0 };
    } catch (error) {
      answer = { value: null, errno: Math.abs(error.errno) || ECONNABORTED };
    }
    port.postMessage(answer);
    Atomics.store(ring, 0, 1);
    Atomics.notify(ring, 0);
  });
}

// One TCP connection, read and written by whoever can wait for a promise.
class Line {
  heard = Buffer.alloc(0);
  ended = false;
  fault = null;
  wake = () => {};

  connect(host, port, seconds) {
    this.socket = net.connect({ host, port, noDelay: true });
    this.socket.on("data", (data) => this.change(() => (this.heard = Buffer.concat([this.heard, data]))));
    this.socket.on("end", () => this.change(() => (this.ended = true)));
    this.socket.on("error", (error) => this.change(() => (this.fault = error)));
    let connected = false;
    this.socket.on("connect", () => this.change(() => (connected = true)));
    return this.until(() => connected, seconds);
  }

  async send(octets, seconds) {
    let sent = false;
    this.socket.write(octets, (error) => this.change(() => (error ? (this.fault = error) : (sent = true))));
    await this.until(() => sent, seconds);
    return octets.length;
  }

  async recv(most, seconds) {
    await this.until(() => this.heard.length > 0 || this.ended, seconds);
    const piece = this.heard.subarray(0, most);
    this.heard = this.heard.subarray(piece.length);
    return piece;
  }

  close() {
    this.socket.destroy();
  }

  change(fact) {
    fact();
    this.wake();
  }

  // Waits until `ready` holds; throws what broke the line, or ETIMEDOUT (`seconds` null: no limit).
  async until(ready, seconds) {
    let late = false;
    const alarm = seconds === null ? null : setTimeout(() => this.change(() => (late = true)), seconds * 1000);
    try {
      while (!ready()) {
        if (this.fault) throw this.fault;
        if (late) throw Object.assign(new Error("timed out"), { errno: -ETIMEDOUT });
        await new Promise((resolve) => (this.wake = resolve));
      }
    } finally {
      clearTimeout(alarm);
    }
  }
}
