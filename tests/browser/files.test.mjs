// Browsing, filtering and downloading.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { connected, content, directory, download, eventually, hold, names, row, scene, write } from "./scene.mjs";

const crumbs = (page) => page.locator("#crumbs a").allTextContents();

test("a folder is opened by its row, left by the crumbs and by Back, and has an address", async (t) => {
    const { page, server } = await scene(t, { files: { "photos/2026/beach.jpg": "x", "readme.txt": "y" } });
    assert.deepEqual(await names(page, 2), ["photos", "readme.txt"]);
    await row(page, "photos").locator("a").first().click();
    await row(page, "2026").locator("a").first().click();
    await row(page, "beach.jpg").waitFor();
    assert.deepEqual(await names(page, 1), ["beach.jpg"]);
    assert.equal((await crumbs(page)).slice(1).join("/"), "photos/2026");
    assert.equal(new URL(page.url()).hash, "#/photos/2026");
    await page.goBack();
    await row(page, "2026").waitFor();
    await page.locator("#crumbs a").first().click();
    await row(page, "readme.txt").waitFor();
    await page.goto(`${server.url}/#/photos/2026`);
    await row(page, "beach.jpg").waitFor();
    await page.reload();
    await row(page, "beach.jpg").waitFor();
});

test("an address with a name that is not ASCII leads there, however it was typed", async (t) => {
    const { page, server } = await scene(t, { files: { "año nuevo (1)/ñ.txt": "x" } });
    for (const hash of ["#/año nuevo (1)", "#/a%C3%B1o%20nuevo%20(1)", "#/a%c3%b1o%20nuevo%20%281%29/"]) {
        await page.goto("about:blank");
        await page.goto(`${server.url}/${hash}`);
        await row(page, "ñ.txt").waitFor();
    }
});

test("a folder is read once when the page is opened, whichever answer comes first", async (t) => {
    const { page, server } = await scene(t, { files: { "a.txt": "x", "empty/x": "x" } });
    fs.rmSync(path.join(server.dir, "empty/x"));
    const listings = [];
    page.on("request", (request) => request.url().includes("/api/list") && listings.push(request.url()));
    for (const later of ["**/api/server", "**/api/list?*"]) {
        const { held, release } = await hold(page, later);
        await page.goto("about:blank");
        await page.goto(`${server.url}/#/empty`);
        await eventually("it is held", () => held.length === 1);
        if (later.endsWith("server")) await page.getByText("Nothing in here yet").waitFor({ state: "attached" });
        else await connected(page);
        await release();
        await connected(page);
        await page.getByText("Drop files onto the page").waitFor();
        assert.equal(listings.splice(0).length, 1, `${later} came later`);
        await page.unroute(later);
    }
});

test("a folder that is not there is said to be so, and can be tried again", async (t) => {
    const { page, server } = await scene(t, { at: "#/nowhere" });
    await page.getByText("There is nothing of that name").waitFor();
    write(server.dir, "nowhere/now.txt", "x");
    await page.getByRole("button", { name: "Try again" }).click();
    await row(page, "now.txt").waitFor();
});

test("a filter needs all of its words, and knows the start, the end and what must not be", async (t) => {
    const all = ["Beach.jpg", "beach thumb.jpg", "beach.png", "sunny beach.jpg", "draw", "raw"];
    const files = Object.fromEntries(all.map((name) => [name, "x"]));
    const { page } = await scene(t, { files });
    const filtered = async (typed, expected) => {
        await page.locator("#filter").fill(typed);
        assert.deepEqual((await names(page, expected.length)).sort(), expected.sort(), typed);
    };
    await filtered("BEACH jpg", ["Beach.jpg", "beach thumb.jpg", "sunny beach.jpg"]);
    await filtered("^beach", ["Beach.jpg", "beach thumb.jpg", "beach.png"]);
    await filtered(".jpg$ !thumb", ["Beach.jpg", "sunny beach.jpg"]);
    await filtered("^raw$", ["raw"]);
    await filtered("!^beach !raw", ["sunny beach.jpg", "draw"].filter((name) => !name.includes("raw")));
    await filtered("! ^ $", Object.keys(files));
    await filtered("nothing like it", []);
    await page.getByRole("button", { name: "Clear the filter" }).click();
    assert.equal((await names(page, 6)).length, 6);
    assert.match(await page.locator("#count").textContent(), /^6 entries, 6 B$/);
});

test("a listing is sorted by name, size and time, either way", async (t) => {
    const { page, server } = await scene(t, { files: { "file10.txt": "aaa", "file9.txt": "a", "b.txt": "aa" } });
    const stamp = (name, seconds) => fs.utimesSync(path.join(server.dir, name), seconds, seconds);
    ["b.txt", "file10.txt", "file9.txt"].forEach((name, place) => stamp(name, 1_700_000_000 + 86_400 * place));
    await page.locator("#reload").click();
    await page.getByText("16 Nov 2023").first().waitFor();
    const sorted = async (column, expected) => {
        if (column) await page.getByRole("columnheader", { name: column }).getByRole("button").click();
        assert.deepEqual(await names(page, 3), expected);
    };
    await sorted(null, ["b.txt", "file9.txt", "file10.txt"]);
    await sorted("Name", ["file10.txt", "file9.txt", "b.txt"]);
    await sorted("Size", ["file10.txt", "b.txt", "file9.txt"]);
    await sorted("Size", ["file9.txt", "b.txt", "file10.txt"]);
    await sorted("Changed", ["file9.txt", "file10.txt", "b.txt"]);
    await page.reload();
    await sorted(null, ["file9.txt", "file10.txt", "b.txt"]);
});

test("a folder whose listing was lost on its way is asked for again", async (t) => {
    const { page } = await scene(t, { files: { "photos/beach.jpg": "x" } });
    let lost = 0;
    await page.route("**/api/list?path=photos*", (route) => (lost += 1) === 1 ? route.abort() : route.continue());
    await row(page, "photos").locator("a").first().click();
    await row(page, "beach.jpg").waitFor();
    assert.equal(lost, 2);
});

test("a file is downloaded as it is, and a folder as a tar of what is in it", async (t) => {
    const film = content(3_000_000);
    const { page } = await scene(t, { files: { "films/año nuevo.mkv": film, "films/deep/er/a.txt": "a", "top.bin": content(10) } });
    const folder = await download(page, row(page, "films").getByRole("link", { name: "Download films as .tar" }));
    assert.match(folder.name, /films\.tar$/);
    const unpacked = directory(t);
    execFileSync("tar", ["-xf", "-", "-C", unpacked], { input: folder.bytes });
    assert.ok(fs.readFileSync(path.join(unpacked, "films/año nuevo.mkv")).equals(film));
    await row(page, "films").locator("a").first().click();
    const file = await download(page, row(page, "año nuevo.mkv").locator("a"));
    assert.equal(file.name, "año nuevo.mkv");
    assert.ok(file.bytes.equals(film));
    const all = await download(page, page.getByRole("link", { name: "Download all (.tar)" }));
    execFileSync("tar", ["-tf", "-"], { input: all.bytes });
});

test("thousands of entries are there at once, filter without a pause, and can all be reached", async (t) => {
    const name = (number) => `many/file ${String(number).padStart(5, "0")}.txt`;
    const fill = (host) => {
        // One file of many names is made in a fraction of the time.
        const first = write(host, name(0), "");
        for (let number = 1; number < 20_000; number += 1) fs.linkSync(first, path.join(host, name(number)));
    };
    const { page } = await scene(t, { fill, at: "#/many" });
    await page.getByText("20,000 entries, 0 B").waitFor();
    assert.ok(await page.locator("#rows .row").count() < 1000, "not all rows are made at once");
    // A machine that has much else to do is late now and then; a filter that is slow is so each time.
    await eventually("a keystroke takes less than 250 ms", async () => await page.evaluate(() => {
        const input = document.getElementById("filter");
        const began = performance.now();
        for (const typed of ["1", "12", "123 !4", "$9", ""]) {
            input.value = typed;
            input.dispatchEvent(new Event("input"));
        }
        return (performance.now() - began) / 5;
    }) < 250);
    await page.mouse.move(300, 600);
    await eventually("scrolling brings the rows that follow", async () => {
        await page.mouse.wheel(0, 20_000);
        return await page.locator("#rows .row").count() > 1000;
    });
    await row(page, "file 00000.txt").locator("a").focus();
    await page.keyboard.press("End");
    await eventually("the last row has the focus", () => page.evaluate(() => document.activeElement.textContent === "file 19999.txt"));
});

test("what is new is seen when the page comes into sight again, and by the button", async (t) => {
    const { page, server } = await scene(t, { files: { "a.txt": "x" } });
    await row(page, "a.txt").waitFor();
    write(server.dir, "b.txt", "x");
    await page.locator("#reload").click();
    await row(page, "b.txt").waitFor();
    write(server.dir, "c.txt", "x");
    await page.clock.install();
    await page.evaluate(() => { view.loadedAt -= 60_000; });
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await row(page, "c.txt").waitFor();
});

test("while the server is away the listing stays, the page says so, and comes back by itself", async (t) => {
    const { page, server } = await scene(t, { files: { "a.txt": "x" } });
    await row(page, "a.txt").waitFor();
    await server.kill();
    await page.locator("#reload").click();
    await page.locator("#link[data-state=lost]").waitFor();
    await page.getByText(/No answer\. Trying again/).waitFor();
    assert.equal(await row(page, "a.txt").count(), 1);
    write(server.dir, "b.txt", "x");
    await server.start();
    await connected(page);
    await row(page, "b.txt").waitFor();
});

test("a folder is read again when the server is back, also where an older request for it still hangs", async (t) => {
    const { page, server, host } = await scene(t, { files: { "old.txt": "x" } });
    await names(page, 1);
    let asked = 0;
    await page.route("**/api/list?*", (route) => (asked += 1) > 1 && route.continue());
    await page.locator("#reload").click();
    await eventually("it is asked for", () => asked === 1);
    await server.kill();
    await page.evaluate(() => reach());
    await page.locator("#link[data-state=lost]").waitFor();
    write(host, "new.txt", "x");
    await server.start();
    assert.deepEqual(await names(page, 2), ["new.txt", "old.txt"]);
});
