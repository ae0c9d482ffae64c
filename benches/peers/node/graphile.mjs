// graphile-worker on PostgreSQL with its local queue and batched completion.
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';
import { byThousands, dueInstants, finish, message, order, post, range, rate } from './common.mjs';

const pgPool = new pg.Pool({ connectionString: order.postgres, max: 20 });
await pgPool.query('DROP SCHEMA IF EXISTS graphile_worker CASCADE');
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ pgPool, logger });
await utils.migrate();
const figures = {};
const singles = 500, callers = 64, each = 16;
if (!order.late) {
    figures.enqueue_one = await rate(singles, async () => {
        for (const id of range(0, singles)) await utils.addJob('send', message(id));
    });
    figures.enqueue_64 = await rate(callers * each, () => Promise.all(range(0, callers).map(async caller => {
        for (const n of range(0, each)) await utils.addJob('send', message(singles + caller * each + n));
    })));
    const first = singles + callers * each;
    figures.enqueue_bulk = await rate(order.messages - first, () => byThousands(first, order.messages, (from, to) =>
        utils.addJobs(range(from, to).map(id => ({ identifier: 'send', payload: message(id) })))));
    await pgPool.query('ANALYZE');
}
const [began, cpu] = [performance.now(), process.cpuUsage()];
await run({
    pgPool,
    logger,
    noHandleSignals: true,
    taskList: { send: async payload => { await post(payload); } },
    preset: {
        worker: {
            concurrentJobs: order.inFlight,
            pollInterval: order.late ? 100 : 1000,
            localQueue: { size: 500 },
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
        },
    },
});
if (order.late) {
    const due = dueInstants();
    for (const id of range(0, order.messages)) {
        await utils.addJob('send', message(id, due(id)), { runAt: new Date(Math.ceil(due(id) / 1000)) });
    }
}
await finish(began, cpu, async () => {
    const left = await pgPool.query('SELECT count(*) AS n FROM graphile_worker._private_jobs');
    return order.messages - Number(left.rows[0].n);
}, figures);
