// Sends COUNT mails of about 2 KB through a nodemailer pool: node nodemailer-send.mjs PORT COUNT CONNECTIONS
import { createRequire } from 'node:module';

const nodemailer = createRequire(`${process.cwd()}/`)('nodemailer');
const [port, count, connections] = process.argv.slice(2).map(Number);
const pool = nodemailer.createTransport({
    host: '127.0.0.1', port, pool: true, maxConnections: connections, maxMessages: Infinity, ignoreTLS: true,
});
const text = `${'x'.repeat(76)}\n`.repeat(23);
let next = 0;
async function work() {
    while (next < count) {
        const number = next++;
        await pool.sendMail({
            from: 'shop@example.jp', to: `member${number}@example.jp`, subject: `mail ${number}`, text,
        });
    }
}
// A few more than there are connections, so that none waits for work.
await Promise.all(Array.from({ length: connections * 4 }, work));
pool.close();
