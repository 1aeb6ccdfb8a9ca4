// What others have put onto the server, and what other pages may do with it: no harm to a visitor.

import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import {
    atEnd, connected, directory, download, event, eventually, follow, following, names, PAGE, row, scene, Server, uploadIs, visitor,
    write,
} from "./scene.mjs";

const IMAGE = "<img src=x onerror=\"document.title='harmed'\">.txt";

test("names are text, whatever is in them, and lead to their files", async (t) => {
    const shown = new Map([
        [IMAGE, IMAGE],
        ["gpj.\u202eexe", "gpj.\\u{202e}exe"],
        ["line\nbreak\ttab\u001b[2J", "line\\nbreak\\ttab\\u{1b}[2J"],
        ["zero\u200bwidth\ufeff", "zero\\u{200b}width\\u{feff}"],
        ["javascript:alert(1)", "javascript:alert(1)"],
        ["100% sure?#top&x=1", "100% sure?#top&x=1"],
        ["%2e%2e%2fetc", "%2e%2e%2fetc"],
        ["family 👨‍👩‍👧 עברית", "family 👨‍👩‍👧 עברית"],
    ]);
    const notText = Buffer.from([0x62, 0x61, 0x64, 0xff, 0xc3, 0x28, 0x2e, 0x74, 0x78, 0x74]);
    const folder = Buffer.from([0x64, 0xfe]);
    const fill = (host) => {
        write(host, notText, "not UTF-8");
        write(host, Buffer.concat([folder, Buffer.from("/inside.txt")]), "inside");
    };
    const { page } = await scene(t, { files: Object.fromEntries([...shown.keys()].map((name) => [name, name])), fill });
    assert.deepEqual((await names(page, shown.size + 2)).sort(), [...shown.values(), "bad\\xff\\xc3(.txt", "d\\xfe"].sort());
    const bytesOf = async (name) => String((await download(page, row(page, name).locator("a"))).bytes);
    for (const [name, text] of shown) assert.equal(await bytesOf(text), name);
    assert.equal(await bytesOf("bad\\xff\\xc3(.txt"), "not UTF-8");
    await row(page, "d\\xfe").locator("a").first().click();
    assert.equal(await bytesOf("inside.txt"), "inside");
    await page.getByRole("button", { name: "Follow", exact: true }).first().click();
    await page.getByText("This folder's name is not text").waitFor();
    assert.doesNotMatch(await page.title(), /harmed/);
});

test("names and messages that arrive are text, too", async (t) => {
    const { page, server } = await scene(t);
    await follow(page, "chat");
    const put = (name, body) => fetch(`${server.url}/files/chat/${encodeURIComponent(name)}`, { method: "PUT", body });
    await put(IMAGE.replaceAll(":", ""), "<script>document.title='harmed'</script>\u202e\u001b[2J");
    await event(page, "arrived", IMAGE).waitFor();
    await page.locator("#feed blockquote").getByText("<script>document.title='harmed'</script>\\u{202e}\\u{1b}[2J").waitFor();
    await put("gpj.\u202eexe", "x");
    await event(page, "arrived", "gpj.\\u{202e}exe").waitFor();
    await put(`${IMAGE.slice(0, 30)}.bin`, "");
    assert.equal(await page.locator("#feed img, #feed script").count(), 0);
    assert.doesNotMatch(await page.title(), /harmed/);
});

test("a dropped or chosen name is text, and is stored as it is", async (t) => {
    const { page, server, local } = await scene(t);
    const name = IMAGE.replaceAll(":", "");
    await page.locator("#files-input").setInputFiles(write(local, name, "x"));
    await uploadIs(page, name, "stored");
    assert.equal(String(server.hosted(name)), "x");
    assert.equal(await page.locator("#uploads img").count(), 0);
});

/** A page that does what it can with a visitor's access to a server, and tells a collector how far it got. */
function hostilePage(server, collector) {
    return `
        const tell = (what) => fetch("${collector}/" + what, { mode: "no-cors" });
        const attempt = async (what, act) => tell(what + "=" + await act().then(() => "done", () => "refused"));
        attempt("read", async () => (await fetch("${server}/api/list")).json());
        attempt("write", async () => {
            const answer = await fetch("${server}/files/written.txt", { method: "PUT", body: "x" });
            if (!answer.ok) throw 0;
        });
        attempt("blind", async () => {
            await fetch("${server}/files/blind.txt", { method: "POST", mode: "no-cors", body: "x" });
            throw 0;
        });
        attempt("follow", () => new Promise((resolve, reject) => {
            const socket = new WebSocket("${server.replace("http", "ws")}/ws");
            socket.onopen = resolve;
            socket.onerror = reject;
        }));`;
}

/** Another server, which shows its pages to whoever comes, and notes what it is asked for. */
async function elsewhere(t, pages = {}) {
    const asked = [];
    const listener = http.createServer((request, response) => {
        asked.push(request.url.slice(1));
        response.setHeader("Content-Type", "text/html");
        response.end(pages[request.url] ?? "");
    });
    await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
    atEnd(t, () => listener.close());
    return { asked, pages, url: `http://127.0.0.1:${listener.address().port}` };
}

const ATTEMPTS = ["read", "write", "blind", "follow"].map((what) => `${what}=refused`).sort();

test("a hosted page or picture that a visitor opens is downloaded, not shown, and cannot call the server", async (t) => {
    const other = await elsewhere(t);
    const { context, server } = await scene(t);
    const script = hostilePage(server.url, other.url);
    write(server.dir, "page.html", `<!doctype html><title>shown</title><script>${script}</script>`);
    write(server.dir, "picture.svg", `<svg xmlns="http://www.w3.org/2000/svg"><script>${script}</script></svg>`);
    for (const name of ["page.html", "picture.svg"]) {
        const tab = await context.newPage();
        const [begun] = await Promise.all([tab.waitForEvent("download"), tab.goto(`${server.url}/files/${name}`).catch(() => {})]);
        assert.equal(begun.suggestedFilename(), name);
        assert.equal(tab.url(), "about:blank");
        // If the browser did show it, the sandbox would keep it from running.
        await tab.route("**/files/*", async (route) => {
            const response = await route.fetch();
            const { "content-disposition": attachment, ...headers } = response.headers();
            assert.match(attachment, /^attachment/);
            await route.fulfill({ response, headers });
        });
        await tab.goto(`${server.url}/files/${name}`);
        await tab.locator("script").waitFor({ state: "attached" });
        assert.equal(await tab.evaluate(() => window.origin), "null");
        await tab.close();
    }
    assert.deepEqual(other.asked.filter((what) => what.includes("=")), []);
});

test("a hosted page that is opened from the disk, and a page of another site, are refused", async (t) => {
    const { server } = await scene(t);
    const other = await elsewhere(t);
    const text = `<!doctype html><script>${hostilePage(server.url, other.url)}</script>`;
    other.pages["/"] = text;
    const saved = write(directory(t), "saved.html", text);
    for (const url of [pathToFileURL(saved).href, `${other.url}/`]) {
        const { page } = await visitor(t, { mayFail: true });
        await page.goto(url);
        const done = () => other.asked.filter((what) => what.includes("="));
        await eventually("all was tried", () => done().length === ATTEMPTS.length);
        assert.deepEqual(done().sort(), ATTEMPTS, url);
        other.asked.length = 0;
    }
    assert.deepEqual(fs.readdirSync(server.dir).filter((name) => name !== ".hostdir"), []);
});

test("the page of the server is in nobody's frame", async (t) => {
    const { server } = await scene(t);
    const other = await elsewhere(t);
    other.pages["/"] = `<!doctype html><iframe src="${server.url}/"></iframe>`;
    const { page } = await visitor(t, { mayFail: true });
    const refused = page.waitForEvent("console", (said) => /frame/i.test(said.text()));
    await page.goto(other.url);
    await refused;
    assert.equal(await page.frameLocator("iframe").locator("#files").count(), 0);
});

test("the page from a disk works with a server that allows it, by an address that is typed", async (t) => {
    const host = directory(t), local = directory(t);
    write(host, "photos/a.txt", "from afar");
    const server = await new Server(t, host, ["--allow-origin", "null"]).start();
    const { page } = await visitor(t);
    await page.goto(PAGE);
    await page.getByLabel("Address").fill("not an address");
    await page.keyboard.press("Enter");
    await page.getByText("That is not an address.").waitFor();
    await page.getByLabel("Address").fill(`127.0.0.1:${server.port}`);
    await page.keyboard.press("Enter");
    await connected(page);
    await row(page, "photos").locator("a").first().click();
    assert.equal(String((await download(page, row(page, "a.txt").locator("a"))).bytes), "from afar");
    await follow(page, "photos");
    await page.locator("#files-input").setInputFiles(write(local, "up.pdf", "up"));
    await event(page, "arrived", "up.pdf").waitFor();
    assert.equal(String(server.hosted("photos/up.pdf")), "up");
    await page.reload();
    await row(page, "up.pdf").waitFor();
    await following(page);
    await page.getByRole("button", { name: "Other server" }).click();
    await page.getByLabel("Address").waitFor();
});

test("a page from a disk whose server does not allow it says what to do", async (t) => {
    const server = await new Server(t, directory(t), []).start();
    const { page } = await visitor(t);
    await page.goto(PAGE);
    await page.getByLabel("Address").fill(server.url);
    await page.keyboard.press("Enter");
    await page.getByText(/does not answer this page\..*--allow-origin null/).waitFor();
    server.args = ["--allow-origin", "null"];
    await server.restart();
    await page.getByRole("button", { name: "Connect" }).click();
    await connected(page);
});
