// plainjob on better-sqlite3, `synchronous=NORMAL` as it is shipped.
import { better, defineQueue, defineWorker, JobStatus } from 'plainjob';
import Database from 'better-sqlite3';
import { byThousands, dueInstants, finish, message, order, post, range, rate } from './common.mjs';

const logger = { debug() {}, info() {}, warn() {}, error: console.error };
const queue = defineQueue({ connection: better(new Database(order.database)), logger });
const figures = {};
if (!order.late) {
    const singles = Math.min(2000, order.messages);
    figures.enqueue_one = await rate(singles, () => range(0, singles).forEach(id => queue.add('send', message(id))));
    figures.enqueue_bulk = await rate(order.messages - singles, () =>
        byThousands(singles, order.messages, (from, to) => queue.addMany('send', range(from, to).map(id => message(id)))));
}
const workers = range(0, order.inFlight).map(() =>
    defineWorker('send', async job => { await post(job.data); }, { queue, logger, pollIntervall: order.late ? 50 : 100 }));
const [began, cpu] = [performance.now(), process.cpuUsage()];
for (const worker of workers) worker.start();
if (order.late) {
    const due = dueInstants();
    for (const id of range(0, order.messages)) {
        queue.add('send', message(id, due(id)), { delay: Math.ceil(due(id) / 1000) - Date.now() });
    }
}
await finish(began, cpu, () => queue.countJobs({ status: JobStatus.Done }), figures);
