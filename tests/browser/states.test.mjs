// Every state that the page can be in: read by everybody, at every width, in both languages, light and dark.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import axe from "axe-core";
import {
    content, directory, dragOver, event, events, follow, PAGE, partial, row, scene, sceneByLine, Server, sparse, uploadIs,
    uploadRow, visitor, write,
} from "./scene.mjs";

const WIDTHS = [360, 800, 1280];
/** English last: in it the tests go on. */
const LANGUAGES = ["es", "en"];
const SCHEMES = ["light", "dark"];

/** A folder for pictures of every state, to be looked at: HOSTDIR_SCREENSHOTS. Without it there are none. */
const { HOSTDIR_SCREENSHOTS: PICTURES } = process.env;

const LONG_NAME = "a_name_without_any_place_to_break_".repeat(7);

/** What axe finds that would keep somebody out; of certain rules, or of all. */
async function barriers(page, rules) {
    if (!await page.evaluate(() => "axe" in window)) await page.evaluate(axe.source);
    const { violations } = await page.evaluate((options) => axe.run(options), rules ? { runOnly: rules } : {});
    const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    return grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" | ")}`);
}

/**
 * Looks at a state of the page in light and dark, at every width and in each language: nobody is kept out, and nothing
 * scrolls sideways.
 */
async function look(page, state) {
    // Only colours differ between the two.
    for (const [colorScheme, rules] of [["light", null], ["dark", ["color-contrast"]]]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        assert.deepEqual(await barriers(page, rules), [], `${state}, ${colorScheme}`);
    }
    const { height } = page.viewportSize();
    for (const width of WIDTHS) {
        await page.setViewportSize({ width, height });
        for (const language of LANGUAGES) {
            await page.locator("#language").selectOption(language);
            const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
            assert.ok(wide <= seen, `${state}, ${language}: ${wide} pixels in ${seen}`);
            if (PICTURES) await picture(page, `${state}-${width}-${language}`);
        }
    }
}

async function picture(page, name) {
    for (const colorScheme of SCHEMES) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: path.join(PICTURES, `${name}-${colorScheme}.png`.replaceAll(/[ /]/g, "_")), fullPage: true });
    }
}

/** Has the server cut its listings short, as that of a folder with more entries than the page takes. */
function cutListings(page, limit) {
    const cut = (url) => url.replace(/limit=\d+/, `limit=${limit}`);
    return page.route("**/api/list?*", (route) => route.continue({ url: cut(route.request().url()) }));
}

test("whoever is asked for a token can read that, at every width", async (t) => {
    const server = new Server(t, directory(t), []);
    await server.token("phone", "--rights", "all");
    await server.start();
    const { page } = await visitor(t);
    await page.goto(server.url);
    await page.locator("#link[data-state=locked]").waitFor();
    await page.locator("#token").fill("hd_wrong");
    await page.locator("#token").press("Enter");
    await page.locator("#enter-problem").waitFor();
    await look(page, "a token is wanted");
});

test("every state of the files can be read by everybody, at every width", async (t) => {
    const sized = { "notes.txt": content(40_000), "film.mkv": content(3_000_000) };
    const files = { "photos/2026/año nuevo.jpg": "x", [LONG_NAME]: "x", "empty/inner/x": "x", ...sized };
    const { page, server } = await scene(t, { files });
    await row(page, LONG_NAME).waitFor();
    await look(page, "a folder");
    await page.locator("#filter").fill("no such thing");
    await page.getByText("Nothing matches this filter.").waitFor();
    await look(page, "no match");
    await page.goto(`${server.url}/#/photos/2026`);
    await row(page, "año nuevo.jpg").waitFor();
    await look(page, "a folder below");
    fs.rmSync(path.join(server.dir, "empty/inner"), { recursive: true });
    await page.goto(`${server.url}/#/empty`);
    await page.getByText("Nothing in here yet").waitFor();
    await look(page, "an empty folder");
    await page.goto(`${server.url}/#/nowhere`);
    await page.getByText("There is nothing of that name").waitFor();
    await look(page, "a folder that is not there");
    fs.symlinkSync("/", path.join(server.dir, "photos/link"));
    for (let number = 0; number < 9; number += 1) write(server.dir, `photos/${number}.jpg`, "x");
    await cutListings(page, 6);
    await page.goto(`${server.url}/#/photos`);
    await page.getByText("Only the first 6 entries are shown.").waitFor();
    await look(page, "a list that is cut short");
    await server.kill();
    await page.locator("#reload").click();
    await page.locator("#link[data-state=lost]").waitFor();
    await look(page, "no server");
});

test("a server that takes no uploads, and where a drop would go, can be read by everybody, at every width", async (t) => {
    const { page, server, local } = await scene(t, { files: { "notes.txt": "x", "empty/x": "x" }, args: ["--read-only"] });
    fs.rmSync(path.join(server.dir, "empty/x"));
    await row(page, "notes.txt").waitFor();
    await look(page, "read-only");
    await page.goto(`${server.url}/#/empty`);
    await page.getByText("Nothing in here yet").waitFor();
    await look(page, "read-only and empty");
    const dropped = [write(local, "dropped.txt", "x")];
    await dragOver(page, page.locator("#files"), dropped);
    await page.getByText("This server takes no uploads", { exact: true }).waitFor();
    await look(page, "a drop that is not taken");
    server.args = [];
    await server.restart();
    await page.reload();
    await page.getByRole("button", { name: "Upload files" }).waitFor();
    await dragOver(page, page.locator("#files"), dropped);
    await page.getByText("Drop to upload into empty").waitFor();
    await look(page, "a drop");
});

test("a page from a disk, and a server that does not answer it, can be read by everybody, at every width", async (t) => {
    const { page } = await visitor(t);
    await page.goto(PAGE);
    await page.getByLabel("Address").waitFor();
    await look(page, "a server to be named");
    // Nobody listens at port 1.
    await page.getByLabel("Address").fill("127.0.0.1:1");
    await page.keyboard.press("Enter");
    await page.getByText("127.0.0.1:1 does not answer this page.").waitFor();
    await look(page, "a server that does not answer");
    await page.locator("#language").selectOption("es");
    await page.getByText("127.0.0.1:1 no responde a esta página.").waitFor();
});

test("uploads in every state can be read by everybody, at every width", async (t) => {
    const options = { files: { "taken.txt": "theirs", "same.txt": "same" }, args: ["--max-file-size", "16MiB"] };
    const { page, server, local, line } = await sceneByLine(t, {}, options);
    const choose = (...paths) => page.locator("#files-input").setInputFiles(paths);
    const small = [["fine.txt", "x"], ["taken.txt", "mine"], ["same.txt", "same"]].map(([name, text]) => write(local, name, text));
    await choose(...small, sparse(local, "large.bin", 20_000_000));
    await uploadIs(page, "fine.txt", "stored");
    await uploadIs(page, "large.bin", "failed");
    await choose(write(local, `${LONG_NAME.slice(0, 200)}.txt`, "x"));
    await page.getByText("4 files stored").waitFor();
    await look(page, "uploads that are over");
    line.allowance = 3_000_000;
    await choose(...["underway.bin", "beside it.bin", "and one more.bin", "waits.bin"].map((name) => sparse(local, name, 8_000_000)));
    await partial(server, 500_000);
    await uploadRow(page, "underway.bin").getByText(/^\d+% of|starting$/).waitFor();
    await look(page, "uploads");
    await server.kill();
    line.allow(Infinity);
    await page.locator("#reload").click();
    await page.locator("#link[data-state=lost]").waitFor();
    await look(page, "uploads without a server");
    await page.getByRole("button", { name: "Cancel all" }).click();
    await uploadIs(page, "underway.bin", "cancelled");
    await look(page, "cancelled uploads");
});

test("a feed with all that can happen can be read by everybody, at every width", async (t) => {
    const { page, server } = await scene(t, { args: ["--keep-arrivals", "8"] });
    await look(page, "nothing followed");
    await follow(page, "chat");
    await follow(page, LONG_NAME.slice(0, 100));
    await server.client(["publish", "chat", write(server.logs, `${LONG_NAME.slice(0, 100)}.bin`, "x"), "--wait", "0"]);
    await page.locator("#message").fill("word ".repeat(50) + LONG_NAME);
    await page.locator("#send-to").selectOption("chat");
    await page.locator("#send-message").click();
    await page.locator("#feed blockquote").waitFor();
    await server.kill();
    const elsewhere = await new Server(t, server.dir, server.args).start();
    for (let number = 0; number < 30; number += 1) await elsewhere.put(`chat/${number}.bin`, String(number));
    fs.rmSync(path.join(server.dir, "chat"), { recursive: true });
    await elsewhere.kill();
    await server.start();
    await events(page, "gap").waitFor();
    await events(page, "missed").waitFor();
    const given = server.beginPut("chat/given up");
    await event(page, "arriving", "given up").waitFor();
    await given.giveUp();
    await event(page, "abandoned", "given up").waitFor();
    server.beginPut("chat/arriving");
    await event(page, "arriving", "arriving").waitFor();
    for (const hash of ["#topics", "#/"]) {
        await page.evaluate((there) => { location.hash = there; }, hash);
        await look(page, `a feed, at ${hash}`);
    }
    await server.kill();
    await page.locator("#follow-state:not([data-state=up])").waitFor();
    await look(page, "a feed without a server");
});
