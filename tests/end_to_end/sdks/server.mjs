// Ask a list of flags as a server does: node server.mjs URL '[[kind, key, default, context], …]'
import { OpenFeature } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';

const [baseUrl, asked] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl }));
const client = OpenFeature.getClient();
const details = [];
for (const [kind, key, own, context] of JSON.parse(asked)) {
  details.push(await client[`get${kind}Details`](key, own, context));
}
console.log(JSON.stringify(details));
await OpenFeature.close();
