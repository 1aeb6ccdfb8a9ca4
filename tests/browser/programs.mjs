// The real server and client on a port of their own, their directories, and a line that can be cut.
//
// Nothing in here waits for a time: everything is waited for until it is so, with a limit (`eventually`).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";

/** The programs, as `tests/browser.rs` names them. */
const { HOSTDIR_SERVER, HOSTDIR_CLIENT } = process.env;

/** Whether the long forms of the tests are asked for. */
export const isLong = (process.env.HOSTDIR_LONG ?? "0") !== "0";

/** How long anything may take that is waited for, in milliseconds. */
export const PATIENCE = isLong ? 300_000 : 90_000;

const children = new Set();
process.on("exit", () => children.forEach((child) => child.kill("SIGKILL")));

function start(program, args, options = {}) {
    const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], ...options });
    children.add(child);
    child.ended = new Promise((resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code, signal) => resolve(code ?? signal));
    }).finally(() => children.delete(child));
    child.ended.catch(() => {});
    child.said = "";
    for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (bytes) => { child.said += bytes; });
    }
    child.stdin.on("error", () => {});
    return child;
}

/** Waits until `probe` gives something, and gives that. */
export async function eventually(what, probe) {
    const deadline = Date.now() + PATIENCE;
    for (;;) {
        const found = await probe();
        if (found) return found;
        assert.ok(Date.now() < deadline, `not in ${PATIENCE} ms: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
    }
}

const endings = new WeakMap();

/** Has something done when a test is over. What came last is done first: nobody writes any more into a directory that goes. */
export function atEnd(t, act) {
    if (!endings.has(t)) {
        endings.set(t, []);
        t.after(() => end(endings.get(t)));
    }
    endings.get(t).push(act);
}

async function end(acts) {
    const act = acts.pop();
    if (act === undefined) return;
    try {
        await act();
    } finally {
        await end(acts);
    }
}

/** A directory of its own, gone when the test is over. */
export function directory(t) {
    const made = fs.mkdtempSync(path.join(os.tmpdir(), "hostdir-page-"));
    atEnd(t, () => fs.rmSync(made, { recursive: true, force: true }));
    return made;
}

/** Content that differs at every offset. */
export const content = (size) => randomBytes(size);

/** Writes a file below a directory, with its folders. A name may be bytes. */
export function write(folder, name, bytes) {
    const file = Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name)]);
    const parent = file.subarray(0, file.lastIndexOf("/"));
    fs.mkdirSync(parent, { recursive: true });
    fs.writeFileSync(file, bytes);
    return file.toString();
}

/** A file of zeros that takes no room. */
export function sparse(folder, name, size) {
    const file = write(folder, name, "");
    fs.truncateSync(file, size);
    return file;
}

/** The real server over a directory. It keeps its port when it is started again. */
export class Server {
    port = 0;

    constructor(t, dir, args) {
        this.dir = dir;
        this.args = args;
        this.logs = directory(t);
        atEnd(t, () => this.kill());
    }

    get isSecured() {
        return this.args.includes("--tls");
    }

    get scheme() {
        return this.isSecured ? "https" : "http";
    }

    get url() {
        return `${this.scheme}://127.0.0.1:${this.port}`;
    }

    async start(port = this.port) {
        const args = ["--ip", "127.0.0.1", "--port", String(port), "--dir", this.dir, "--log-dir", this.logs, ...this.args];
        // The machine's disk is none of the test's business.
        if (!this.args.includes("--min-free-space")) args.push("--min-free-space", "0");
        if (this.isSecured) args.push("--tls-dir", path.join(this.logs, "tls"));
        const listens = () => /Browser: +https?:\/\/127\.0\.0\.1:(\d+)\//.exec(this.child.said);
        const isTaken = () => this.child.exitCode !== null && this.child.said.includes("in use");
        this.child = start(HOSTDIR_SERVER, args);
        const found = await eventually("the server listens", () => {
            // While it was down, another test may have been given its port for a while.
            if (isTaken()) this.child = start(HOSTDIR_SERVER, args);
            assert.equal(this.child.exitCode, null, `the server ended: ${this.child.said}`);
            return listens();
        });
        this.port = Number(found[1]);
        return this;
    }

    /** Ends it as `kill -9` does. */
    async kill() {
        this.child.kill("SIGKILL");
        await this.child.ended;
    }

    async restart() {
        await this.kill();
        await this.start();
    }

    /** Runs the real client to its end, and gives what it printed. */
    async client(args, { input = "", ...options } = {}) {
        const child = this.clientRunning(args, options);
        child.stdin.end(input);
        const code = await child.ended;
        assert.equal(code, 0, `client ${args.join(" ")}: ${child.said}`);
        return child.said;
    }

    /** The real client, running. */
    clientRunning(args, { cwd = this.logs, token = "" } = {}) {
        const trust = this.isSecured ? ["--tls", "--accept-new"] : [];
        // The servers that it knows are none of the user's who runs the tests.
        const env = { ...process.env, XDG_DATA_HOME: this.logs, HOSTDIR_TOKEN: token };
        return start(HOSTDIR_CLIENT, ["--ip", "127.0.0.1", "--port", String(this.port), "--no-input", ...trust, ...args], { cwd, env });
    }

    /** Makes a token, as an operator does. */
    async token(name, ...args) {
        const child = start(HOSTDIR_SERVER, ["token", "add", name, "--dir", this.dir, ...args]);
        assert.equal(await child.ended, 0, child.said);
        return /^hd_\w+$/m.exec(child.said)[0];
    }

    async revoke(name) {
        const child = start(HOSTDIR_SERVER, ["token", "revoke", name, "--dir", this.dir]);
        assert.equal(await child.ended, 0, child.said);
    }

    /** Uploads a file by HTTP, as a script would. */
    async put(name, body) {
        const answer = await fetch(`${this.url}/files/${encodeURI(name)}`, { method: "PUT", body });
        assert.ok(answer.ok, `PUT ${name}: ${answer.status}`);
    }

    /** An upload that has begun and can be followed, and that its sender does not finish. */
    beginPut(name) {
        const headers = { "Hostdir-Upload": randomBytes(16).toString("hex"), "Hostdir-Digest": `blake3=${"0".repeat(64)}` };
        const request = http.request(`${this.url}/files/${encodeURI(name)}`, { method: "PUT", headers });
        request.on("error", () => {});
        request.write("the beginning");
        // What it sends does not have the digest that it announced.
        const giveUp = () => new Promise((resolve) => request.on("response", resolve).end());
        return { giveUp, leave: () => request.destroy() };
    }

    /** What its log says of transfers. */
    transfers() {
        return fs.readFileSync(path.join(this.logs, "transfers.log"), "utf8");
    }

    /** The bytes of a hosted file; null if it is not there. */
    hosted(name) {
        try {
            return fs.readFileSync(path.join(this.dir, name));
        } catch {
            return null;
        }
    }
}

/**
 * A line between a page and a server. It passes so many bytes a second from the page, or so many in all, and can be cut. Of
 * the first request that begins as `swallows` says the server's answer is lost, and whatever comes after it on that connection.
 */
export class Line {
    sockets = new Set();
    waiting = new Set();

    constructor(t, server, { bytesPerSecond = Infinity, allowance = Infinity, swallows = null } = {}) {
        Object.assign(this, { bytesPerSecond, allowance, swallows, scheme: server.scheme });
        this.listener = net.createServer((near) => this.#join(near, net.connect(server.port, "127.0.0.1")));
        atEnd(t, () => this.close());
    }

    async open() {
        await new Promise((resolve) => this.listener.listen(0, "127.0.0.1", resolve));
        this.url = `${this.scheme}://127.0.0.1:${this.listener.address().port}`;
        return this;
    }

    #join(near, far) {
        for (const socket of [near, far]) {
            this.sockets.add(socket);
            socket.on("error", () => {});
            socket.on("close", () => {
                this.sockets.delete(socket);
                near.destroy();
                far.destroy();
            });
        }
        far.pipe(near);
        near.on("data", (bytes) => {
            this.#swallow(bytes, far);
            this.#pass(bytes, near, far);
        });
        near.on("end", () => far.end());
    }

    #swallow(bytes, far) {
        if (this.swallows === null || !bytes.toString("latin1").startsWith(this.swallows)) return;
        this.swallows = null;
        far.unpipe();
        far.resume();
    }

    #pass(bytes, near, far) {
        near.pause();
        const go = () => {
            this.allowance -= bytes.length;
            // A real line takes its time; this is what is tested, not something that is waited for.
            setTimeout(() => far.write(bytes, () => near.resume()), bytes.length / this.bytesPerSecond * 1000);
        };
        if (this.allowance > 0) go();
        else this.waiting.add(go);
    }

    /** Passes so many bytes more. */
    allow(count) {
        this.allowance = Math.max(this.allowance, 0) + count;
        for (const go of this.waiting) go();
        this.waiting.clear();
    }

    /** Cuts all connections that there are. */
    cut() {
        for (const socket of this.sockets) socket.destroy();
    }

    close() {
        this.cut();
        this.listener.close();
    }
}

/** Waits until the server has so many bytes of an upload that is on its way, and gives their file. */
export const partial = (server, size) => eventually(`${size} bytes are on the server's disk`, () => {
    const folder = path.join(server.dir, ".hostdir/partial");
    const files = fs.existsSync(folder) ? fs.readdirSync(folder).map((name) => path.join(folder, name)) : [];
    return files.find((file) => fs.statSync(file, { throwIfNoEntry: false })?.size >= size);
});
