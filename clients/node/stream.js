// Streams rows, labels them late and reads reports, with grpc-js and the contract as it is in proto/.
//
//   npm install && node stream.js 127.0.0.1:8013
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const address = process.argv[2] || '127.0.0.1:8013';
const proto = path.join(__dirname, '..', '..', 'proto');
const definition = loader.loadSync('acgs/orchestrator/v1/orchestrator.proto', {
  includeDirs: [proto],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { OrchestratorService } = grpc.loadPackageDefinition(definition).acgs.orchestrator.v1;

const metadata = new grpc.Metadata();
metadata.set('x-constitutional-hash', process.env.CONSTITUTIONAL_HASH || 'cdd01ef066bc6cf2');

const field = (name, kind, role) => ({ name, kind: `FIELD_KIND_${kind}`, role: `FIELD_ROLE_${role}` });
const open = {
  stream_id: `node-${process.pid}`,
  schema: { fields: [field('ts', 'TIMESTAMP', 'TIMESTAMP'), field('id', 'INT64', 'ID'), field('score', 'DOUBLE', 'SCORE')] },
  label_schema: { fields: [field('id', 'INT64', 'ID'), field('late', 'DOUBLE', 'LABEL')] },
  window: { tumbling: { size_ms: 1000 }, out_of_orderness_ms: 0 },
};

const client = new OrchestratorService(address, grpc.credentials.createInsecure());
const call = client.StreamWindows(metadata);
const last = new Map();
let stamped = false;
let closed = null;

call.on('metadata', (answer) => { stamped = answer.get('x-constitutional-hash').length === 1; });
call.on('data', (answer) => {
  if (answer.message === 'report') last.set(answer.report.window.start_ms, answer.report);
  if (answer.message === 'closed') closed = answer.closed;
});
call.on('error', (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exit(1);
});
call.on('end', () => {
  for (const [start, report] of [...last].sort(([one], [other]) => one - other)) {
    const labelled = report.performance ? report.performance.labelled_count : 0;
    console.log(`${start} rows ${report.quality.row_count} labelled ${labelled} rev ${report.revision} ${report.harm}`);
  }
  console.log(`accepted ${closed.accepted_rows} windows ${closed.windows} stamped ${stamped}`);
  client.close();
});

call.write({ open });
let seq = 0;
for (let second = 0; second < 5; second += 1) {
  const ids = Array.from({ length: 100 }, (_, row) => second * 100 + row);
  seq += 1;
  call.write({ rows: { seq, batch: { row_count: 100, columns: [
    { integers: ids.map((id) => id * 10) },
    { integers: ids },
    { doubles: ids.map((id) => (id % 10) / 10) },
  ] } } });
  if (second > 0) {
    // The truth of a second is known a second later.
    const before = ids.map((id) => id - 100);
    seq += 1;
    call.write({ labels: { seq, batch: { row_count: 100, columns: [
      { integers: before },
      { doubles: before.map((id) => (id % 10 >= 5 ? 1 : 0)) },
    ] } } });
  }
}
call.write({ end: {} });
call.end();
