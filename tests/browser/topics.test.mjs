// Following topics and sending to them, with the terminal's client at the other end.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import {
    connected, content, directory, download, event, events, eventually, follow, following, names, scene, sceneByLine, Server, write,
} from "./scene.mjs";

/** Publishes a file as the terminal does. */
async function publish(server, topic, name, bytes) {
    const file = write(server.logs, `out/${name}`, bytes);
    await server.client(["publish", topic, file, "--wait", "0"]);
}

/** While the page cannot reach the server: the same directory, served from another port. */
async function meanwhile(t, server, act) {
    await server.kill();
    const elsewhere = await new Server(t, server.dir, server.args).start();
    await act(elsewhere);
    await elsewhere.kill();
    await server.start();
}

test("what the terminal publishes is seen at once, with who, what and how much, and can be downloaded", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    const bytes = content(70_000);
    await publish(server, "chat", "año nuevo.bin", bytes);
    const seen = event(page, "arrived", "año nuevo.bin");
    await seen.getByText("in chat · 68.4 KiB · from 127.0.0.1").waitFor();
    assert.ok((await download(page, seen.locator("a"))).bytes.equals(bytes));
    await publish(server, "elsewhere", "other.bin", "x");
    await publish(server, "chat/below", "deep.bin", "x");
    await event(page, "arrived", "deep.bin").waitFor();
    assert.equal(await event(page, "arrived", "other.bin").count(), 0);
});

test("files and a message that are sent to a topic reach the terminal's subscriber", async (t) => {
    const { page, server, local } = await scene(t);
    const saved = directory(t);
    const subscriber = server.clientRunning(["--dir", saved, "subscribe", "chat", "--count", "2"]);
    await eventually("the client follows", () => subscriber.said.includes("Following chat"));
    await follow(page, "chat");
    await page.locator("#message").fill("¡Hola!\nSee you at 8.");
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await page.getByText("See you at 8.").waitFor();
    assert.equal(await page.locator("#message").inputValue(), "");
    const bytes = content(200_000);
    await page.locator("#send-input").setInputFiles(write(local, "film.mkv", bytes));
    assert.equal(await subscriber.ended, 0);
    const got = fs.readdirSync(path.join(saved, "chat"));
    const message = got.find((name) => /^message \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.txt$/.test(name));
    assert.equal(fs.readFileSync(path.join(saved, "chat", message), "utf8"), "¡Hola!\nSee you at 8.");
    assert.ok(fs.readFileSync(path.join(saved, "chat/film.mkv")).equals(bytes));
});

test("an upload can be downloaded while it is still arriving", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    const publisher = server.clientRunning(["publish", "chat", "-", "--name", "log", "--wait", "0"]);
    publisher.stdin.write("the first half, ");
    const arriving = event(page, "arriving", "log");
    const [begun] = await Promise.all([page.waitForEvent("download"), arriving.getByText("Download while it arrives").click()]);
    assert.equal(server.hosted("chat/log"), null);
    publisher.stdin.end("and the second");
    assert.equal(fs.readFileSync(await begun.path(), "utf8"), "the first half, and the second");
    await event(page, "arrived", "log").waitFor();
    assert.equal(await events(page, "arriving").count(), 0);
    assert.equal(await publisher.ended, 0);
});

test("an upload that its sender gives up is said to be given up", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    const publisher = server.beginPut("chat/log");
    await event(page, "arriving", "log").waitFor();
    await publisher.giveUp();
    await event(page, "abandoned", "log").getByText("does not arrive: given up, or here already").waitFor();
});

test("what ends without a word does not arrive for ever, and what still comes stays", async (t) => {
    const { page, server } = await scene(t);
    await page.clock.install();
    await page.reload();
    await follow(page, "chat");
    await page.evaluate(() => {
        const hearing = hearSubscribed;
        window.answers = 0;
        window.hearSubscribed = () => {
            hearing();
            window.answers += 1;
        };
    });
    // Nobody hears what becomes of it: its sender may come back.
    const gone = server.beginPut("chat/gone.bin");
    await event(page, "arriving", "gone.bin").waitFor();
    gone.leave();
    await eventually("it broke off", () => /path=chat\/gone\.bin.*status=incomplete/.test(server.transfers()));
    server.beginPut("chat/long.bin");
    const stays = await event(page, "arriving", "long.bin").elementHandle();
    for (let looks = 0; looks < 3; looks += 1) {
        await page.clock.fastForward(30_000);
        await eventually("the page looks", () => page.evaluate((before) => window.answers > before, looks));
    }
    await event(page, "arriving", "gone.bin").waitFor({ state: "detached" });
    assert.ok(await stays.evaluate((element) => element.isConnected));
});

test("what is sent once more is said to be here already", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    const put = (id) => fetch(`${server.url}/files/chat/same.txt`, {
        method: "PUT", body: "same", headers: { "Hostdir-Upload": id.repeat(32) },
    });
    assert.equal((await put("1")).status, 201);
    await event(page, "arrived", "same.txt").waitFor();
    assert.equal((await put("2")).status, 200);
    await event(page, "abandoned", "same.txt").getByText("or here already").waitFor();
    await event(page, "arrived", "same.txt").waitFor();
});

test("after the server was killed and came back nothing is missed, and the page says what was", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    await publish(server, "chat", "before.txt", "x");
    await event(page, "arrived", "before.txt").waitFor();
    await meanwhile(t, server, async (elsewhere) => {
        await page.locator("#link[data-state=lost]").waitFor();
        await publish(elsewhere, "chat", "away 1.bin", "1");
        await publish(elsewhere, "other", "not followed.bin", "x");
        await publish(elsewhere, "chat", "away 2.bin", "2");
    });
    await following(page);
    await event(page, "arrived", "away 2.bin").waitFor();
    await event(page, "arrived", "away 1.bin").waitFor();
    await page.getByText("2 missed files").waitFor();
    await publish(server, "chat", "after.bin", "x");
    await event(page, "arrived", "after.bin").waitFor();
    assert.deepEqual(await page.locator("#feed .event .named").allTextContents(), ["after.bin", "away 2.bin", "away 1.bin", "before.txt"]);
});

test("a page that was closed shows what it has missed, once, and what it had", async (t) => {
    const { page, context, server } = await scene(t);
    await follow(page, "chat");
    await publish(server, "chat", "seen.bin", "x");
    await event(page, "arrived", "seen.bin").waitFor();
    await page.waitForFunction(() => Object.values(localStorage).some((value) => value.includes("seen.bin")));
    await page.close();
    await publish(server, "chat", "missed.bin", "x");
    const again = await context.newPage();
    await again.goto(server.url);
    await event(again, "arrived", "missed.bin").waitFor();
    await again.getByText("1 missed file", { exact: true }).waitFor();
    assert.equal(await event(again, "arrived", "seen.bin").count(), 1);
    await again.reload();
    await following(again);
    await publish(server, "chat", "new.bin", "x");
    await event(again, "arrived", "new.bin").waitFor();
    assert.equal(await event(again, "arrived", "missed.bin").count(), 1);
    assert.equal(await events(again, "missed").count(), 1);
});

test("each folder has its own place in the history, and a new one begins now", async (t) => {
    const { page, server } = await scene(t);
    await publish(server, "late", "too early.bin", "x");
    await follow(page, "chat");
    await publish(server, "chat", "1.bin", "x");
    await event(page, "arrived", "1.bin").waitFor();
    await follow(page, "late");
    await page.getByText("Following 2 folders").waitFor();
    await publish(server, "late", "2.bin", "x");
    await event(page, "arrived", "2.bin").waitFor();
    await page.getByRole("button", { name: "Stop following chat" }).click();
    await page.getByText("Following 1 folder", { exact: true }).waitFor();
    await publish(server, "chat", "3.bin", "x");
    await publish(server, "late", "4.bin", "x");
    await event(page, "arrived", "4.bin").waitFor();
    assert.deepEqual(await page.locator("#feed .event .named").allTextContents(), ["4.bin", "2.bin", "1.bin"]);
});

test("what the server has forgotten is said plainly", async (t) => {
    const { page, server } = await scene(t, { args: ["--keep-arrivals", "8"] });
    await follow(page, "chat");
    await publish(server, "chat", "0.bin", "x");
    await event(page, "arrived", "0.bin").waitFor();
    await meanwhile(t, server, async (elsewhere) => {
        // One after the other: the journal drops what it forgets by the segment, and a batch is in one.
        for (let number = 1; number <= 40; number += 1) await elsewhere.put(`chat/${number}.bin`, String(number));
        // Files of arrivals that were forgotten this lately may arrive once more (PROTOCOL.md, section 16).
        fs.rmSync(path.join(server.dir, "chat"), { recursive: true });
    });
    await events(page, "gap").getByText(/^\d+ arrivals are gone from the server's history\.$/).waitFor();
    const gone = Number(/\d+/.exec(await events(page, "gap").locator("p").textContent())[0]);
    await page.getByText(`${40 - gone} missed files`).waitFor();
});

test("each part of the history that is gone is said, also on one connection", async (t) => {
    const { page } = await scene(t);
    await follow(page, "chat");
    await page.evaluate(() => [{ after: 5, missed: 2 }, { after: 9, missed: 3 }, { after: 9, missed: 3 }].forEach(hearGap));
    await events(page, "gap").nth(1).waitFor();
    const said = await events(page, "gap").locator("p").allTextContents();
    assert.deepEqual(said.map((text) => /^\d+/.exec(text)[0]), ["3", "2"]);
});

test("a history that began anew is said to have, and what it has is shown", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    await publish(server, "chat", "old.bin", "x");
    await event(page, "arrived", "old.bin").waitFor();
    await server.kill();
    fs.rmSync(path.join(server.dir, ".hostdir/journal"), { recursive: true });
    await server.start();
    await events(page, "gap").getByText("The server's history began anew").waitFor();
    await following(page);
    await publish(server, "chat", "new.bin", "x");
    await event(page, "arrived", "new.bin").waitFor();
    assert.equal(await events(page, "gap").count(), 1);
});

test("a connection that the server ends is begun again, with nothing shown twice", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    for (const round of [1, 2, 3]) {
        await publish(server, "chat", `${round}.bin`, "x");
        await event(page, "arrived", `${round}.bin`).waitFor();
        await server.kill();
        await page.locator("#follow-state:not([data-state=up])").waitFor();
        await server.start();
        await following(page);
    }
    assert.deepEqual(await page.locator("#feed .event .named").allTextContents(), ["3.bin", "2.bin", "1.bin"]);
});

test("a connection that breaks while the server goes on is begun again", async (t) => {
    const { page, server, line } = await sceneByLine(t, {});
    await follow(page, "chat");
    for (const round of [1, 2]) {
        line.cut();
        await publish(server, "chat", `${round}.bin`, "x");
        await event(page, "arrived", `${round}.bin`).waitFor();
    }
    assert.deepEqual(await page.locator("#feed .event .named").allTextContents(), ["2.bin", "1.bin"]);
});

/**
 * Loads the page anew. On its first connection that follows something `altered` says what is heard in the place of each
 * message of the server; null for nothing. Gives how many connections there were.
 */
async function firstHearing(page, altered) {
    let connections = 0;
    await page.routeWebSocket(/\/ws/, (socket) => {
        const there = socket.connectToServer();
        if ((connections += 1) > 1) return;
        let told = 0;
        there.onMessage((message) => {
            const said = altered(JSON.parse(message), told += 1);
            if (said !== null) socket.send(JSON.stringify(said));
        });
    });
    // Only what is loaded from now on goes this way.
    await page.reload();
    await connected(page);
    return () => connections;
}

test("a connection that falls silent before anything is followed is begun again", async (t) => {
    const { page, server } = await scene(t);
    await page.clock.install();
    let swallowed = 0;
    await firstHearing(page, (message, told) => told === 1 ? message : (swallowed += 1, null));
    await page.locator("#topic").fill("chat");
    await page.locator("#follow-button").click();
    await eventually("the second answer is lost", () => swallowed > 0);
    await page.clock.fastForward(11_000);
    await following(page);
    await publish(server, "chat", "1.bin", "x");
    await event(page, "arrived", "1.bin").waitFor();
});

test("a server that cannot be followed just now is followed a moment later", async (t) => {
    const { page } = await scene(t);
    const connections = await firstHearing(page, () => ({ type: "error", code: "unavailable", detail: "not now" }));
    await follow(page, "chat");
    assert.equal(connections(), 2);
});

test("a folder that may not be followed is not asked for again and again", async (t) => {
    const { page } = await scene(t);
    await page.clock.install();
    const connections = await firstHearing(page, () => ({ type: "error", code: "forbidden", detail: "no" }));
    await page.locator("#topic").fill("chat");
    await page.locator("#follow-button").click();
    await page.getByText("Not following: the server does not allow it").waitFor();
    await page.clock.fastForward(60_000);
    await page.getByText("Not following: the server does not allow it").waitFor();
    assert.equal(connections(), 1);
});

test("what arrives is downloaded by itself if that is wished, each file once", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    await page.getByLabel("Download what arrives").check();
    const taken = [];
    page.on("download", (begun) => taken.push(begun));
    for (const name of ["1.bin", "2.bin", "3.bin"]) await publish(server, "chat", name, name);
    await eventually("three downloads", () => taken.length === 3);
    const bytes = await Promise.all(taken.map(async (begun) => fs.readFileSync(await begun.path(), "utf8")));
    assert.deepEqual(bytes.sort(), ["1.bin", "2.bin", "3.bin"]);
});

test("whether what arrives is downloaded is the visitor's wish in all windows, whatever another one remembers late", async (t) => {
    const { page, context, server } = await scene(t);
    await follow(page, "chat");
    const other = await context.newPage();
    await other.goto(server.url);
    await following(other);
    const wish = (window) => window.getByLabel("Download what arrives");
    await wish(page).check();
    await other.locator("#auto-download:checked").waitFor();
    await wish(page).uncheck();
    await other.locator("#auto-download:not(:checked)").waitFor();
    await wish(page).check();
    await other.locator("#auto-download:checked").waitFor();
    // As if it had not heard of it before it wrote down how far it came.
    await other.evaluate(() => { ui.autoDownload.checked = false; });
    await other.evaluate(() => saveTopics());
    for (const window of [page, other]) {
        await window.reload();
        await window.locator("#auto-download:checked").waitFor();
    }
});

/** Notes when each download would begin, in place of beginning it. */
const noteDownloads = (page) => page.evaluate(() => {
    window.begun = [];
    window.download = () => window.begun.push(performance.now());
});

test("downloads that are due at the same time begin one after the other", async (t) => {
    const { page } = await scene(t);
    await noteDownloads(page);
    await page.evaluate(() => ["1.bin", "2.bin", "3.bin"].forEach((name, place) => downloadSoon(name, place + 1)));
    await page.waitForFunction(() => window.begun.length === 3);
    const [first, second, third] = await page.evaluate(() => window.begun);
    const rest = Math.min(second - first, third - second);
    assert.ok(rest > 600, `a browser drops what is begun in the same moment: ${rest} ms`);
});

test("of two windows that show an arrival one downloads it", async (t) => {
    const { page, context, server } = await scene(t);
    await follow(page, "chat");
    await page.getByLabel("Download what arrives").check();
    const other = await context.newPage();
    await other.goto(server.url);
    await following(other);
    // Out of sight it waits, here until it is told to go on.
    await other.evaluate(() => {
        Object.defineProperty(document, "visibilityState", { value: "hidden" });
        window.pause = () => new Promise((resolve) => { window.goOn = resolve; });
    });
    for (const window of [page, other]) await noteDownloads(window);
    await publish(server, "chat", "once.bin", "x");
    for (const window of [page, other]) await event(window, "arrived", "once.bin").waitFor();
    const begun = (window) => window.evaluate(() => window.begun.length);
    await eventually("the window that is seen downloads it", async () => await begun(page) === 1);
    await eventually("the other one knows", () => other.evaluate(() => Object.keys(localStorage).some((key) => key.includes(" claim "))));
    await other.evaluate(() => window.goOn());
    await other.waitForFunction(() => !downloads.isRunning);
    assert.deepEqual([await begun(page), await begun(other)], [1, 0]);
});

test("a window out of sight downloads what arrives where no other one does", async (t) => {
    const { page } = await scene(t);
    await page.evaluate(() => Object.defineProperty(document, "visibilityState", { value: "hidden" }));
    await noteDownloads(page);
    await page.evaluate(() => downloadSoon("1.bin", 1));
    await page.waitForFunction(() => window.begun.length === 1);
});

test("of two windows that claim an arrival in the same moment one downloads it", async (t) => {
    const { page } = await scene(t);
    await noteDownloads(page);
    await page.evaluate(() => {
        downloadSoon("1.bin", 1);
        const [key] = Object.keys(localStorage).filter((name) => name.includes(" claim "));
        localStorage.setItem(key, JSON.stringify({ ...JSON.parse(localStorage[key]), windowId: "another" }));
        downloadSoon("2.bin", 2);
    });
    await page.waitForFunction(() => !downloads.isRunning);
    assert.equal(await page.evaluate(() => window.begun.length), 1);
});

test("what arrives in the folder that is shown appears in its listing", async (t) => {
    const { page, server } = await scene(t, { files: { "chat/first.txt": "x" }, at: "#/chat" });
    assert.deepEqual(await names(page, 1), ["first.txt"]);
    await page.getByRole("button", { name: "Follow", exact: true }).first().click();
    await following(page);
    await publish(server, "chat", "second.txt", "x");
    assert.deepEqual(await names(page, 2), ["first.txt", "second.txt"]);
    await page.getByRole("button", { name: "Following", exact: true }).click();
    await page.locator("#follow-state").waitFor({ state: "hidden" });
});

/** Another window of the same visitor; `page` follows a folder, and so both do. */
async function followingToo(page, context, server) {
    const other = await context.newPage();
    await other.goto(server.url);
    await connected(other);
    await follow(page, "chat");
    await following(other);
    return other;
}

test("two windows of one visitor follow the same", async (t) => {
    const { page, context, server } = await scene(t);
    const other = await followingToo(page, context, server);
    await publish(server, "chat", "both.bin", "x");
    for (const window of [page, other]) await event(window, "arrived", "both.bin").waitFor();
    await page.getByRole("button", { name: "Stop following chat" }).click();
    await other.getByRole("button", { name: "Stop following chat" }).waitFor({ state: "detached" });
});

test("a window shows what arrives also where another one of the same visitor was quicker", async (t) => {
    const { page, context, server } = await scene(t);
    const slow = await context.newPage();
    let hurry, told = new Promise((resolve) => { hurry = resolve; });
    await slow.routeWebSocket(/\/ws/, (socket) => socket.connectToServer().onMessage((message) => {
        if (JSON.parse(message).type === "subscribed") return socket.send(message);
        told = told.then(() => socket.send(message));
    }));
    await slow.goto(server.url);
    await connected(slow);
    await follow(page, "chat");
    await following(slow);
    await slow.evaluate(() => addEventListener("storage", ({ newValue }) => { window.heard = newValue; }));
    await publish(server, "chat", "both.bin", "x");
    await event(page, "arrived", "both.bin").waitFor();
    await slow.waitForFunction(() => window.heard?.includes("both.bin"));
    hurry();
    await event(slow, "arrived", "both.bin").waitFor();
});

test("a window that is slower does not bring back what another one has shown", async (t) => {
    const { page, context, server } = await scene(t);
    await follow(page, "chat");
    const slow = await context.newPage();
    await slow.goto(server.url);
    await following(slow);
    // It hears nothing more, as if it were still busy.
    await slow.evaluate(() => { HEARING.arrived = () => {}; });
    await publish(server, "chat", "both.bin", "x");
    await event(page, "arrived", "both.bin").waitFor();
    const remembered = (window) => window.evaluate(() => localStorage[MEMORY + topicsKey()]);
    await eventually("it is written down", async () => (await remembered(slow)).includes("both.bin"));
    const before = await remembered(slow);
    await slow.evaluate(() => saveTopics());
    assert.equal(await remembered(slow), before);
    await slow.close();
    await page.reload();
    await following(page);
    await event(page, "arrived", "both.bin").waitFor();
    assert.equal(await events(page, "missed").count(), 0);
});

test("a folder that is given up in one window stays so, whatever another one remembers late", async (t) => {
    const { page, context, server } = await scene(t);
    const other = await followingToo(page, context, server);
    await page.getByRole("button", { name: "Stop following chat" }).click();
    await other.getByRole("button", { name: "Stop following chat" }).waitFor({ state: "detached" });
    await page.evaluate(() => addEventListener("storage", ({ newValue }) => { window.heard = newValue; }));
    // As if it had not heard of it before it wrote down how far it came.
    await other.evaluate(() => {
        follow.topics.set("chat", 7);
        saveTopics();
    });
    await page.waitForFunction(() => window.heard?.includes("chat"));
    await page.locator("#follow-state").waitFor({ state: "hidden" });
    await page.reload();
    await connected(page);
    assert.equal(await page.locator("#followed li").count(), 0);
});

test("what arrives between the two questions of a page that comes back hides nothing", async (t) => {
    const { page, context, server } = await scene(t);
    await follow(page, "chat");
    await publish(server, "chat", "seen.bin", "x");
    await event(page, "arrived", "seen.bin").waitFor();
    await page.waitForFunction(() => Object.values(localStorage).some((value) => value.includes("seen.bin")));
    await page.close();
    for (const name of ["1.bin", "2.bin"]) await publish(server, "chat", name, "x");
    const again = await context.newPage();
    let asked = 0, told, ask;
    const meanwhile = new Promise((resolve) => { told = resolve; });
    await again.routeWebSocket(/\/ws/, (socket) => {
        const there = socket.connectToServer();
        // The second question waits until the server has told what came after the first.
        socket.onMessage((message) => { (asked += 1) === 1 ? there.send(message) : ask = () => there.send(message); });
        there.onMessage((message) => {
            socket.send(message);
            if (JSON.parse(message).type === "arrived") told();
        });
    });
    await again.goto(server.url);
    await eventually("it asks for what it missed", () => ask);
    await publish(server, "chat", "between.bin", "x");
    await meanwhile;
    ask();
    for (const name of ["between.bin", "2.bin", "1.bin"]) await event(again, "arrived", name).waitFor();
});

test("what cannot be a folder is refused with the reason, and the rest is still followed", async (t) => {
    const { page } = await scene(t);
    await follow(page, "chat");
    for (const typed of ["a/../b", ".hostdir/journal", "a\\b", "x".repeat(256)]) {
        await page.locator("#topic").fill(typed);
        await page.locator("#follow-button").click();
        await page.getByText("That cannot be a folder").waitFor();
    }
    await page.locator("#language").selectOption("es");
    await page.getByText("Eso no puede ser una carpeta").waitFor();
    await page.locator("#language").selectOption("en");
    await page.locator("#topic").fill("/");
    await page.locator("#follow-button").click();
    await page.getByText("Following 2 folders").waitFor();
});
