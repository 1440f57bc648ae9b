// Watches one live stream by several players in headless Chromium, a page each and all at once; prints what each page saw as
// a line of JSON, in the order in which they are done (watch.html says what is in it).
// node watch.mjs ARTIFACTS SECONDS BACK AGAIN LABEL:PLAYER=URL...
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { launch, site } from './chromium.mjs';

const [artifacts, seconds, back, again, ...plays] = process.argv.slice(2);
const scripts = ['hls.js/dist/hls.js', 'dashjs/dist/modern/umd/dash.all.debug.js',
  'shaka-player/dist/shaka-player.compiled.js', 'mpegts.js/dist/mpegts.js'];
const { origin, close } = await site(readFileSync(new URL('watch.html', import.meta.url)), scripts);
const browser = await launch();
// A page that stands still is ended; what it says is the result either way.
const PATIENCE = (Number(seconds) + Number(again) + 25) * 1000;

async function watch(play) {
  const [, label, player, url] = play.match(/^([^:]+):([^=]+)=(.*)$/);
  // A context has connections of its own: of one, Chromium opens six to a host for all its pages.
  const context = await browser.newContext({ viewport: { width: 640, height: 400 } });
  const page = await context.newPage();
  const refused = [];
  page.on('response', (response) => {
    if (response.status() >= 400 && !response.url().startsWith(origin)) refused.push(`${response.status()} ${response.url()}`);
  });
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText;
    // Players abandon what they no longer want.
    if (why !== 'net::ERR_ABORTED') refused.push(`${why} ${request.url()}`);
  });
  const query = new URLSearchParams({ player, url, seconds, back, again });
  await page.goto(`${origin}/?${query}`, { waitUntil: 'commit' });
  const is_over = () => window.seen !== undefined && (window.seen.phase === 'done' || window.seen.errors.length > 0);
  await page.waitForFunction(is_over, undefined, { timeout: PATIENCE, polling: 200 }).catch(() => {});
  const seen = await page.evaluate(() => {
    const { totalVideoFrames, droppedVideoFrames } = document.querySelector('video').getVideoPlaybackQuality();
    return { ...window.seen, decoded: totalVideoFrames, dropped: droppedVideoFrames };
  });
  await page.screenshot({ path: join(artifacts, `chromium-${label}.png`) });
  await context.close();
  console.log(JSON.stringify({ label, ...seen, refused }));
}

try {
  await Promise.all(plays.map(watch));
} finally {
  await browser.close();
  close();
}
