// What the tests of the page share: the real server and client on a port of their own, and a real Chromium.
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
import { after } from "node:test";
import { chromium } from "playwright-core";

/** The programs, as `tests/browser.rs` names them. */
const { HOSTDIR_SERVER, HOSTDIR_CLIENT, HOSTDIR_CHROMIUM } = process.env;

/** The page's own file, as it is opened from a disk. */
export const PAGE = new URL("../../src/server/web/page.html", import.meta.url).href;

/** Whether the long forms of the tests are asked for. */
export const isLong = (process.env.HOSTDIR_LONG ?? "0") !== "0";

/** How long anything may take that is waited for, in milliseconds. */
const PATIENCE = isLong ? 300_000 : 30_000;

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
        this.child = start(HOSTDIR_SERVER, args);
        const listens = () => /Browser: +https?:\/\/127\.0\.0\.1:(\d+)\//.exec(this.child.said);
        const found = await eventually("the server listens", () => {
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
        return { giveUp: () => new Promise((resolve) => request.on("response", resolve).end()) };
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

let browser = null;

/** One browser for all tests of a file. */
export async function theBrowser() {
    // As root, which containers are, Chromium's own sandbox cannot be raised.
    const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
    // Shared memory is small in containers; a temporary file does as well.
    args.push("--disable-dev-shm-usage");
    browser ??= await chromium.launch({ executablePath: HOSTDIR_CHROMIUM, args });
    return browser;
}

after(() => browser?.close());

/** A visitor: a window of its own, without memory of others. Errors of the page fail the test, unless they are what it is about. */
export async function visitor(t, { mayFail = false, ...options } = {}) {
    const context = await (await theBrowser()).newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    // Asked for now, because a key that opens a chooser would be faster than the wish to see it.
    page.on("filechooser", () => {});
    const wrong = [];
    page.on("pageerror", (error) => wrong.push(error.stack));
    page.on("console", (said) => /content security policy/i.test(said.text()) && wrong.push(said.text()));
    atEnd(t, async () => {
        await context.close();
        if (!mayFail) assert.deepEqual(wrong, [], "errors of the page");
    });
    return { context, page };
}

/** As `scene`, with a line between the page and the server. */
export async function sceneByLine(t, line, options = {}) {
    const made = await scene(t, options);
    made.line = await new Line(t, made.server, line).open();
    await made.page.goto(made.line.url);
    await connected(made.page);
    return made;
}

/** A server over some files, and a visitor of its page. `files` are names with their bytes; `fill` makes what else is needed. */
export async function scene(t, { files = {}, fill = () => {}, args = [], at = "#/", visitor: options = {} } = {}) {
    const host = directory(t), local = directory(t);
    for (const [name, bytes] of Object.entries(files)) write(host, name, bytes);
    fill(host);
    const server = await new Server(t, host, args).start();
    const { context, page } = await visitor(t, options);
    await page.goto(`${server.url}/${at}`);
    await connected(page);
    return { host, local, server, context, page };
}

export const connected = (page) => page.locator("#link[data-state=up]").waitFor();

/** The rows of the listing, by name. */
export const row = (page, name) => page.locator("#rows .row").filter({ has: page.getByText(name, { exact: true }) });

/** The names that are listed, once there are as many. */
export async function names(page, count) {
    const all = page.locator("#rows .row .name a .named");
    await eventually(`${count} rows`, async () => await all.count() === count);
    return all.allTextContents();
}

/** The bytes that a click downloads, and the name that they are given. */
export async function download(page, link) {
    const [begun] = await Promise.all([page.waitForEvent("download"), link.click()]);
    const saved = await begun.path();
    return { name: begun.suggestedFilename(), bytes: fs.readFileSync(saved) };
}

/** The row of an upload, by the path that it goes to. */
export const uploadRow = (page, name) => page.locator("#upload-list .upload").filter({ has: page.getByText(name, { exact: true }) });

/** Waits until an upload is in a state. */
export const uploadIs = (page, name, state) => uploadRow(page, name).and(page.locator(`[data-state=${state}]`)).waitFor();

/** Follows a folder by the form, and waits until it is so. */
export async function follow(page, folder) {
    if (await page.locator("#view-topics").isVisible()) await page.locator("#view-topics").click();
    await page.locator("#topic").fill(folder);
    await page.locator("#follow-button").click();
    await following(page);
}

export const following = (page) => page.locator("#follow-state[data-state=up]").waitFor();

/** The events of the feed of one kind. */
export const events = (page, kind) => page.locator(`#feed .event[data-kind=${kind}]`);

/** An event about a file, once it is there. */
export const event = (page, kind, name) => events(page, kind).filter({ has: page.getByText(name, { exact: true }) });

/** Moves files or folders of this machine over an element, as a file manager does. */
export const dragOver = (page, target, paths) => drag(page, target, paths, ["dragEnter", "dragOver"]);

/** Drops them there. */
export const drop = (page, target, paths) => drag(page, target, paths, ["dragEnter", "dragOver", "drop"]);

async function drag(page, target, paths, steps) {
    const box = await target.boundingBox();
    const devtools = await page.context().newCDPSession(page);
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    for (const type of steps) {
        await devtools.send("Input.dispatchDragEvent", { type, x: box.x + box.width / 2, y: box.y + box.height / 2, data });
    }
}

/** A line between a page and a server. It passes so many bytes a second from the page, or so many in all, and can be cut. */
export class Line {
    sockets = new Set();
    waiting = new Set();

    constructor(t, server, { bytesPerSecond = Infinity, allowance = Infinity } = {}) {
        Object.assign(this, { bytesPerSecond, allowance, scheme: server.scheme });
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
        near.on("data", (bytes) => this.#pass(bytes, near, far));
        near.on("end", () => far.end());
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

/** Holds the requests of a page that match, until they are let go. */
export async function hold(page, pattern) {
    const held = [];
    let isOpen = false;
    await page.route(pattern, (route) => isOpen ? route.continue() : held.push(route));
    const release = () => {
        isOpen = true;
        return Promise.all(held.map((route) => route.continue()));
    };
    return { held, release };
}
