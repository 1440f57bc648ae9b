// Headless Chromium as the tests drive it, and the site whose pages it shows.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
      // Every page is the one in front.
      '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
      '--disable-backgrounding-occluded-windows'],
  });
}

// The pages have an origin of their own, as a site that embeds a player has: the server under test must allow it.
// `scripts` are what npm installed, served below /; every other path is the page.
export async function site(html, scripts) {
  const modules = new URL('node_modules/', import.meta.url);
  const texts = new Map(scripts.map((script) => ['/' + script, readFileSync(new URL(script, modules))]));
  const server = createServer((request, response) => {
    const text = texts.get(request.url.split('?')[0]);
    response.setHeader('Content-Type', text ? 'text/javascript' : 'text/html');
    response.end(text ?? html);
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
