// The page for everybody: two languages, light and dark, any width, the keyboard alone, and a screen reader.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import {
    connected, event, eventually, follow, following, names, row, scene, uploadIs, uploadRow, write,
} from "./scene.mjs";

test("a visitor who speaks Spanish is spoken to in Spanish, can choose, and is remembered", async (t) => {
    const { page } = await scene(t, { files: { "a.txt": "x", "b.txt": "x" }, visitor: { locale: "es-MX" } });
    await page.getByRole("button", { name: "Subir archivos" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "es");
    await page.getByText("2 entradas, 2 B").waitFor();
    await page.getByText("Conectado").waitFor();
    await page.getByRole("columnheader", { name: "Tamaño" }).waitFor();
    await page.getByLabel("Idioma").selectOption("en");
    await page.getByText("2 entries, 2 B").waitFor();
    await page.reload();
    await page.getByRole("button", { name: "Upload files" }).waitFor();
    assert.equal(await page.locator("html").getAttribute("lang"), "en");
});

test("both languages say the same things", async (t) => {
    const { page } = await scene(t);
    const [missing, places] = await page.evaluate(() => {
        const keys = (texts, prefix = "") => Object.entries(texts).flatMap(([key, text]) => {
            return key === "error" ? keys(text, "error.") : [prefix + key];
        });
        const placesOf = (text) => [...new Set(JSON.stringify(text).match(/\{\w+\}/g) ?? [])].sort().join();
        const only = (a, b) => keys(a).filter((key) => !keys(b).includes(key));
        const differ = Object.keys(TEXT.en).filter((key) => key !== "error" && placesOf(TEXT.en[key]) !== placesOf(TEXT.es[key]));
        return [[...only(TEXT.en, TEXT.es), ...only(TEXT.es, TEXT.en)], differ];
    });
    assert.deepEqual([missing, places], [[], []]);
});

test("what is asked of a text is there: every word that the page uses has one", async (t) => {
    const { page, server } = await scene(t);
    const source = await (await fetch(server.url)).text();
    const uses = [/words\("(\w+)"/g, /data-(?:text|label|hint)="(\w+)"/g, /announce\("(\w+)"/g];
    const used = uses.flatMap((use) => [...source.matchAll(use)].map(([, key]) => key));
    assert.ok(used.length > 50);
    const known = await page.evaluate(() => Object.keys(TEXT.en));
    assert.deepEqual(used.filter((key) => !known.includes(key)), []);
});

test("light and dark are the visitor's choice", async (t) => {
    const { page } = await scene(t);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    await page.emulateMedia({ colorScheme: "dark" });
    const brightness = (colour) => colour.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
    assert.ok(brightness(light) > 600 && brightness(await ground()) < 150);
});

test("whoever wants no motion gets none", async (t) => {
    const { page } = await scene(t, { visitor: { reducedMotion: "reduce" } });
    await follow(page, "chat");
    await page.evaluate(() => hearArriving({ live: "0".repeat(32), href: "/files/chat/x" }));
    const moving = await page.evaluate(() => document.getAnimations().length);
    assert.equal(moving, 0);
    await page.emulateMedia({ reducedMotion: "no-preference" });
    await eventually("it would move otherwise", () => page.evaluate(() => document.getAnimations().length > 0));
});

test("on a narrow screen files and topics are two views, and news in the other one are counted", async (t) => {
    const { page, server } = await scene(t, { files: { "a.txt": "x" }, visitor: { viewport: { width: 360, height: 700 } } });
    await follow(page, "chat");
    assert.equal(await page.locator("#files").isVisible(), false);
    await page.goBack();
    await row(page, "a.txt").waitFor();
    assert.equal(await page.locator("#topics").isVisible(), false);
    await server.client(["publish", "chat", write(server.logs, "new.bin", "x"), "--wait", "0"]);
    await page.locator("#unseen-count").getByText("1").waitFor();
    assert.match(await page.title(), /^\(1\) /);
    await page.locator("#view-topics").click();
    await event(page, "arrived", "new.bin").waitFor();
    assert.equal(await page.locator("#unseen-count").isVisible(), false);
});

/** Presses Tab until an element has the focus; the focus must be seen on everything on the way. */
async function tabTo(page, target) {
    const here = () => target.evaluate((element) => element === document.activeElement);
    for (let steps = 0; !await here(); steps += 1) {
        assert.ok(steps < 60, `${target} is not reached by Tab`);
        await page.keyboard.press("Tab");
        const unseen = await page.evaluate(() => {
            const element = document.activeElement;
            const isSeen = (pseudo) => {
                const { outlineStyle, outlineWidth } = getComputedStyle(element, pseudo);
                return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
            };
            return element === document.body || isSeen() || isSeen("::after") ? "" : element.outerHTML;
        });
        assert.equal(unseen, "", "the focus is seen");
    }
}

const chooser = (page) => page.waitForEvent("filechooser");

test("everything in the files goes by the keyboard alone", async (t) => {
    const { page, server, local } = await scene(t, { files: { "photos/2026/beach.jpg": "sand", "photos/a.txt": "a", "top.txt": "x" } });
    await row(page, "photos").waitFor();
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    await tabTo(page, page.locator("#filter"));
    await page.keyboard.type("photo");
    await names(page, 1);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await row(page, "2026").waitFor();
    await eventually("the first row has the focus", async () => (await focused()).startsWith("2026"));
    await page.keyboard.press("ArrowRight");
    await eventually("and again", async () => await focused() === "beach.jpg");
    const [begun] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
    assert.equal(fs.readFileSync(await begun.path(), "utf8"), "sand");
    await page.keyboard.press("ArrowLeft");
    await eventually("going up leads to the folder that was left", async () => (await focused()).startsWith("2026"));
    await page.keyboard.press("End");
    assert.equal(await focused(), "a.txt");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("ArrowUp");
    assert.equal(await page.evaluate(() => document.activeElement.id), "filter");
    await page.keyboard.press("Shift+Tab");
    await tabTo(page, page.getByRole("columnheader", { name: "Size" }).getByRole("button"));
    await page.keyboard.press("Enter");
    await page.locator("#by-size[aria-sort=descending]").waitFor();
    await page.locator("#filter").focus();
    for (const [button, name] of [["#choose-files", "by key.txt"], ["#choose-folder", "folder"]]) {
        await page.locator("#change-server, #language").last().focus();
        await tabTo(page, page.locator(button));
        const [opened] = await Promise.all([chooser(page), page.keyboard.press("Enter")]);
        await opened.setFiles(button === "#choose-files" ? write(local, name, "x") : path.dirname(write(local, `${name}/inside.txt`, "x")));
    }
    await uploadIs(page, "photos/by key.txt", "stored");
    await uploadIs(page, "photos/folder/inside.txt", "stored");
    await tabTo(page, page.getByRole("button", { name: "Clear finished" }));
    await page.keyboard.press("Enter");
    await page.locator("#uploads").waitFor({ state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.id), "choose-files");
    assert.equal(String(server.hosted("photos/by key.txt")), "x");
});

test("uploads are cancelled, tried again and removed by the keyboard alone, and the focus is never lost", async (t) => {
    const { page, local } = await scene(t);
    await page.route("**/files/slow.bin", () => {});
    await page.locator("#files-input").setInputFiles(write(local, "slow.bin", "x"));
    await uploadRow(page, "slow.bin").waitFor();
    await tabTo(page, page.getByRole("button", { name: "Cancel slow.bin" }));
    await page.keyboard.press("Enter");
    await uploadIs(page, "slow.bin", "cancelled");
    const label = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    assert.equal(await label(), "Remove slow.bin from the list");
    await page.unroute("**/files/slow.bin");
    await page.keyboard.press("Shift+Tab");
    assert.equal(await label(), "Try slow.bin again");
    await page.keyboard.press("Enter");
    await uploadIs(page, "slow.bin", "stored");
    assert.equal(await label(), "Remove slow.bin from the list");
    await page.keyboard.press("Enter");
    await page.locator("#uploads").waitFor({ state: "hidden" });
});

test("topics go by the keyboard alone", async (t) => {
    const { page, server, local } = await scene(t);
    await tabTo(page, page.locator("#topic"));
    await page.keyboard.type("chat");
    await page.keyboard.press("Enter");
    await following(page);
    await tabTo(page, page.locator("#auto-download"));
    await page.keyboard.press("Space");
    await page.keyboard.press("Space");
    await tabTo(page, page.locator("#message"));
    await page.keyboard.type("hello");
    await page.keyboard.press("Enter");
    await page.keyboard.type("there");
    await page.keyboard.press("Control+Enter");
    await page.locator("#feed blockquote").getByText("hello there").waitFor();
    await tabTo(page, page.locator("#send-files"));
    const [opened] = await Promise.all([chooser(page), page.keyboard.press("Enter")]);
    await opened.setFiles(write(local, "sent.bin", "sent"));
    await event(page, "arrived", "sent.bin").waitFor();
    await tabTo(page, event(page, "arrived", "sent.bin").locator("a"));
    const [begun] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
    assert.equal(fs.readFileSync(await begun.path(), "utf8"), "sent");
    await page.locator("#topic").focus();
    await tabTo(page, page.getByRole("button", { name: "Stop following chat" }));
    await page.keyboard.press("Enter");
    await page.locator("#follow-state").waitFor({ state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.id), "topic");
    assert.equal(String(server.hosted("chat/sent.bin")), "sent");
});

test("a screen reader hears what happens, once and politely", async (t) => {
    const { page, server, local } = await scene(t, { files: { "photos/1.jpg": "x", "photos/2.jpg": "x" } });
    const said = page.locator("[role=status]");
    assert.equal(await page.locator("[aria-live]").count(), 1);
    await row(page, "photos").locator("a").first().click();
    await said.getByText("photos: 2 entries").waitFor();
    await page.locator("#files-input").setInputFiles(write(local, "up.txt", "x"));
    await said.getByText("up.txt is stored").waitFor();
    // What happens at the same moment is said together.
    await page.evaluate(() => [1, 2, 3].forEach((number) => announce("saidStored", { name: `up ${number}.txt` })));
    await said.getByText("3 files are stored").waitFor();
    await server.kill();
    await page.locator("#reload").click();
    await said.getByText("The server does not answer").waitFor();
    await server.start();
    await said.getByText("Connected again").waitFor();
    await connected(page);
});
