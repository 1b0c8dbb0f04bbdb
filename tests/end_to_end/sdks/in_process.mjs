// Evaluate one flag for many units in this process: node in_process.mjs FILE KEY '["unit", …]'
import { OpenFeature } from '@openfeature/server-sdk';
import { FlagdProvider } from '@openfeature/flagd-provider';

const [file, key, units] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(
  new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: file })
);
const client = OpenFeature.getClient();
const variants = [];
for (const targetingKey of JSON.parse(units)) {
  variants.push((await client.getStringDetails(key, 'own', { targetingKey })).variant);
}
console.log(JSON.stringify(variants));
await OpenFeature.close();
process.exit(0);
