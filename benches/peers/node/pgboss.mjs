// pg-boss on PostgreSQL: four workers that take 500 jobs at a time, twice a second, which is the least it polls.
import PgBoss from 'pg-boss';
import pg from 'pg';
import { byThousands, dueInstants, finish, message, order, post, range, rate } from './common.mjs';

const pool = new pg.Pool({ connectionString: order.postgres, max: 4 });
await pool.query('DROP SCHEMA IF EXISTS pgboss CASCADE');
const boss = new PgBoss({ connectionString: order.postgres, max: 20 });
boss.on('error', error => console.error(error.message));
await boss.start();
await boss.createQueue('send');
const figures = {};
const singles = 500;
if (!order.late) {
    figures.enqueue_one = await rate(singles, async () => {
        for (const id of range(0, singles)) await boss.send('send', message(id));
    });
    figures.enqueue_bulk = await rate(order.messages - singles, () => byThousands(singles, order.messages, (from, to) =>
        boss.insert(range(from, to).map(id => ({ name: 'send', data: message(id) })))));
    await pool.query('ANALYZE');
}
const [began, cpu] = [performance.now(), process.cpuUsage()];
for (const _ of range(0, 4)) {
    await boss.work('send', { batchSize: 500, pollingIntervalSeconds: 0.5 }, async jobs => {
        await Promise.all(jobs.map(job => post(job.data)));
    });
}
if (order.late) {
    const due = dueInstants();
    for (const id of range(0, order.messages)) {
        await boss.send('send', message(id, due(id)), { startAfter: new Date(Math.ceil(due(id) / 1000)) });
    }
}
await finish(began, cpu, async () => {
    const done = await pool.query("SELECT count(*) AS n FROM pgboss.job WHERE state = 'completed'");
    return Number(done.rows[0].n);
}, figures);
