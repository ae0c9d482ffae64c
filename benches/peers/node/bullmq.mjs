// BullMQ on Redis, whose append-only file is flushed as the server was started: once a second, or always.
import { Queue, Worker } from 'bullmq';
import IORedis from 'ioredis';
import { byThousands, dueInstants, finish, message, order, post, range, rate } from './common.mjs';

const connection = { host: '127.0.0.1', port: order.redis, maxRetriesPerRequest: null };
const redis = new IORedis(order.redis);
await redis.flushall();
await redis.config('SET', 'appendfsync', process.env.FLUSH ?? 'everysec');
const queue = new Queue('send', { connection });
const figures = {};
const singles = 1000, callers = 64, each = 16;
if (!order.late) {
    figures.enqueue_one = await rate(singles, async () => {
        for (const id of range(0, singles)) await queue.add('send', message(id));
    });
    figures.enqueue_64 = await rate(callers * each, () => Promise.all(range(0, callers).map(async caller => {
        for (const n of range(0, each)) await queue.add('send', message(singles + caller * each + n));
    })));
    const first = singles + callers * each;
    figures.enqueue_bulk = await rate(order.messages - first, () => byThousands(first, order.messages, (from, to) =>
        queue.addBulk(range(from, to).map(id => ({ name: 'send', data: message(id) })))));
}
const [began, cpu] = [performance.now(), process.cpuUsage()];
const worker = new Worker('send', async job => { await post(job.data); }, { connection, concurrency: order.inFlight });
worker.on('error', error => console.error(error.message));
if (order.late) {
    await worker.waitUntilReady();
    const due = dueInstants();
    for (const id of range(0, order.messages)) {
        await queue.add('send', message(id, due(id)), { delay: Math.ceil(due(id) / 1000) - Date.now() });
    }
}
await finish(began, cpu, () => queue.getCompletedCount(), figures);
