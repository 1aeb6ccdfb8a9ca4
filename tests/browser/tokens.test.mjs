// A server that wants tokens: the page asks for one, and offers what it is good for.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import {
    connected, content, directory, download, event, eventually, follow, following, hold, names, row, Server, uploadIs, visitor,
    write,
} from "./scene.mjs";

/** A server with tokens, and a visitor who is asked for one. */
async function lockedScene(t, { files = {}, tokens, args = [] }) {
    const host = directory(t), local = directory(t);
    for (const [name, bytes] of Object.entries(files)) write(host, name, bytes);
    const server = new Server(t, host, args);
    const given = {};
    for (const [name, flags] of Object.entries(tokens)) given[name] = await server.token(name, ...flags);
    await server.start();
    const { page, context } = await visitor(t);
    await page.goto(server.url);
    await locked(page);
    return { host, local, server, page, context, tokens: given };
}

const locked = (page) => page.locator("#link[data-state=locked]").waitFor();

async function enter(page, token) {
    await page.locator("#token").fill(token);
    await page.locator("#token").press("Enter");
}

async function enterWell(page, token) {
    await enter(page, token);
    await connected(page);
}

test("the page asks for a token, and does everything with it", async (t) => {
    const bytes = content(300_000);
    const files = { "photos/año 1.jpg": bytes, "notes.txt": "x" };
    const { page, server, local, tokens } = await lockedScene(t, { files, tokens: { phone: ["--rights", "all"] } });
    assert.equal(await page.evaluate(() => document.activeElement.id), "token");
    assert.equal(await page.locator("#files").isVisible(), false);
    await enter(page, "two words");
    await page.getByText("That is no token").waitFor();
    await enter(page, "hd_wrong");
    await page.locator("#enter-problem").getByText("The token is not known, was revoked, or has expired").waitFor();
    // Whoever else misses the server meanwhile does not ask it in vain.
    await page.evaluate(() => reach());
    assert.ok(await page.locator("#enter-problem").isVisible());
    await enterWell(page, tokens.phone);
    assert.deepEqual(await names(page, 2), ["photos", "notes.txt"]);

    await row(page, "photos").locator("a").first().click();
    assert.deepEqual((await download(page, row(page, "año 1.jpg").locator("a"))).bytes, bytes);
    const archive = await download(page, page.locator("#take-folder"));
    assert.equal(archive.name, "photos.tar");
    assert.ok(archive.bytes.includes(bytes));

    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.locator("#choose-files").click()]);
    await chooser.setFiles(write(local, "up.bin", bytes));
    await uploadIs(page, "photos/up.bin", "stored");
    assert.deepEqual(server.hosted("photos/up.bin"), bytes);

    await follow(page, "chat");
    await page.locator("#auto-download").check();
    const [arrived] = await Promise.all([
        page.waitForEvent("download"),
        server.client(["publish", "chat", write(local, "sent.bin", bytes)], { token: tokens.phone }),
    ]);
    await event(page, "arrived", "sent.bin").waitFor();
    assert.deepEqual(fs.readFileSync(await arrived.path()), bytes);
    await page.locator("#message").fill("hello");
    await page.locator("#send-message").click();
    await page.locator("#feed blockquote").getByText("hello").waitFor();
    const log = fs.readFileSync(path.join(server.logs, "server.log"), "utf8");
    assert.ok(!log.includes(tokens.phone), "the token is in the log");
});

test("a listing that was on its way when a token was asked for is asked for again with it", async (t) => {
    const { page, tokens } = await lockedScene(t, { files: { "notes.txt": "x" }, tokens: { phone: ["--rights", "all"] } });
    await hold(page, "**/api/list?*");
    await page.reload();
    await locked(page);
    await page.unroute("**/api/list?*");
    await enterWell(page, tokens.phone);
    assert.deepEqual(await names(page, 1), ["notes.txt"]);
});

test("a token is not forgotten for a question that was asked without it", async (t) => {
    const { page, tokens } = await lockedScene(t, { tokens: { phone: ["--rights", "all"] } });
    const { held, release } = await hold(page, "**/api/server");
    await page.evaluate(() => {
        link.state = "connecting";
        reach();
    });
    await eventually("it is on its way", () => held.length === 1);
    await enter(page, tokens.phone);
    await release();
    await connected(page);
});

test("a page offers what its token is good for, and nothing else", async (t) => {
    const tokens = { reader: ["--rights", "read", "--folder", "a"], sender: ["--rights", "add", "--folder", "a"] };
    const { page, server, local, tokens: given } = await lockedScene(t, { files: { "a/x": "x", "b/secret": "x" }, tokens });
    await enterWell(page, given.reader);
    assert.deepEqual(await names(page, 1), ["a"]);
    await page.getByText("You may not upload here.").waitFor();
    for (const id of ["#choose-files", "#choose-folder", "#follow-folder", "#topics", "#views"]) {
        assert.equal(await page.locator(id).isVisible(), false, id);
    }
    assert.ok(await page.locator("#take-folder").isVisible());
    await page.locator("#forget-token").click();
    await locked(page);

    await enterWell(page, given.sender);
    await page.goto(`${server.url}/#/a`);
    await page.getByText("The server does not allow it").waitFor();
    assert.equal(await page.locator("#take-folder").isVisible(), false);
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.locator("#choose-files").click()]);
    await chooser.setFiles(write(local, "up.bin", "bytes"));
    await uploadIs(page, "a/up.bin", "stored");
    assert.equal(String(server.hosted("a/up.bin")), "bytes");
});

test("a token is known until the tab is closed, or for good if that is wanted", async (t) => {
    const { page, context, server, tokens } = await lockedScene(t, { tokens: { phone: ["--rights", "all"] } });
    await enterWell(page, tokens.phone);
    await page.reload();
    await connected(page);
    const other = await context.newPage();
    await other.goto(server.url);
    await locked(other);
    await other.locator("#keep-token").check();
    await enterWell(other, tokens.phone);
    const third = await context.newPage();
    await third.goto(server.url);
    await connected(third);
    await third.locator("#forget-token").click();
    await locked(third);
    await third.reload();
    await locked(third);
});

test("who loses the token is asked again, and what was begun goes on", async (t) => {
    const tokens = { one: ["--rights", "all"], other: ["--rights", "all"] };
    const { page, server, local, tokens: given } = await lockedScene(t, { tokens });
    await enterWell(page, given.one);
    await follow(page, "chat");
    await server.revoke("one");
    await locked(page);
    await page.locator("#enter-problem").getByText("The token is not known, was revoked, or has expired").waitFor();
    await server.client(["publish", "chat", write(local, "missed.bin", "x")], { token: given.other });
    await enterWell(page, given.other);
    await following(page);
    await event(page, "arrived", "missed.bin").waitFor();
    await eventually("it was not asked again", () => page.locator("#enter").isHidden());
});

test("a ticket that is never given does not keep the page from following", async (t) => {
    const { page, tokens } = await lockedScene(t, { tokens: { phone: ["--rights", "all"] } });
    await enterWell(page, tokens.phone);
    await page.clock.install();
    let questions = 0;
    await page.route("**/api/ticket?for=events*", (route) => (questions += 1) > 1 && route.continue());
    await page.locator("#topic").fill("chat");
    await page.locator("#follow-button").click();
    await eventually("it asks for a ticket", () => questions === 1);
    await page.clock.fastForward(11_000);
    await following(page);
});
