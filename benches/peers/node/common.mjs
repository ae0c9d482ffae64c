// What every peer is given, and what it says at its end.
import fs from 'node:fs';
import { Pool } from 'undici';

const given = (name, otherwise) => process.env[name] ?? otherwise;

export const order = {
    late: given('MODE', 'drain') === 'late',
    messages: Number(given('MESSAGES', 20_000)),
    inFlight: Number(given('IN_FLIGHT', 64)),
    spanS: Number(given('SPAN_S', 20)),
    database: given('DATABASE', 'peer.db'),
    postgres: given('POSTGRES', ''),
    redis: Number(given('REDIS_PORT', 6399)),
};

const pool = new Pool(given('SERVER', 'http://127.0.0.1:9700'), { connections: 256, pipelining: 1 });
const text = 'm'.repeat(215);

export const message = (id, due_us = 0) => ({ id, due_us, chat_id: -1001234567890, text });

export async function post(body) {
    const answer = await pool.request({
        path: '/m',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
    await answer.body.text();
}

export const nowUs = () => Math.round((performance.timeOrigin + performance.now()) * 1000);
export const sleep = ms => new Promise(done => setTimeout(done, ms));

/** Due instants in microseconds, the first three seconds from now. */
export function dueInstants() {
    const begins = nowUs() + 3_000_000;
    return n => Math.round(begins + n * order.spanS * 1e6 / order.messages);
}

/** So many a second of what `work` does. */
export async function rate(count, work) {
    const began = performance.now();
    await work();
    return count / ((performance.now() - began) / 1000);
}

/** Calls `work(from, to)` for a thousand at a time. */
export async function byThousands(from, to, work) {
    for (let at = from; at < to; at += 1000) await work(at, Math.min(at + 1000, to));
}

export const range = (from, to) => Array.from({ length: to - from }, (_, n) => from + n);

async function posted() {
    let last = -1, moved = performance.now();
    for (;;) {
        const answer = await pool.request({ path: '/count', method: 'GET' });
        const count = Number(await answer.body.text());
        if (count >= order.messages) return;
        if (count !== last) [last, moved] = [count, performance.now()];
        if (performance.now() - moved > 40_000) throw new Error(`nothing has moved for 40 s at ${count}`);
        await sleep(5);
    }
}

/** From now until `recorded()` counts all messages; then says so. */
export async function finish(began, cpu, recorded, figures) {
    await posted();
    const waited = performance.now();
    let done;
    do {
        done = await recorded();
        if (done < order.messages) await sleep(3);
    } while (done < order.messages && performance.now() - waited < 15_000);
    const seconds = (performance.now() - began) / 1000;
    const used = process.cpuUsage(cpu);
    const status = fs.readFileSync('/proc/self/status', 'utf8');
    console.log(JSON.stringify({
        ...figures,
        per_second: order.messages / seconds,
        recorded: done,
        cpu_us: (used.user + used.system) / order.messages,
        memory_mib: Math.round(Number(status.match(/VmHWM:\s+(\d+)/)[1]) / 1024),
    }));
    process.exit(0);
}
