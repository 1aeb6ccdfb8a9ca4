// What the tests of the page share: the programs of `programs.mjs`, and a real Chromium that shows the page.

import assert from "node:assert/strict";
import fs from "node:fs";
import { after } from "node:test";
import { chromium } from "playwright-core";
import { atEnd, directory, eventually, Line, PATIENCE, Server, write } from "./programs.mjs";

export * from "./programs.mjs";

/** The browser, as `tests/browser.rs` names it. */
const { HOSTDIR_CHROMIUM } = process.env;

/** The page's own file, as it is opened from a disk. */
export const PAGE = new URL("../../src/server/web/page.html", import.meta.url).href;

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
    const usual = { locale: "en-GB", viewport: { width: 1280, height: 900 }, acceptDownloads: true };
    const context = await (await theBrowser()).newContext({ ...usual, ...options });
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
