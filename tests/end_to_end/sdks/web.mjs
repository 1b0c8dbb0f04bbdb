// Ask one flag as a page does, and again whenever the provider hears of a change: node web.mjs URL KEY CONTEXT
import { EventSource } from 'eventsource';
import { OpenFeature, ProviderEvents } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

globalThis.EventSource = EventSource;
const [baseUrl, key, context] = process.argv.slice(2);
await OpenFeature.setContext(JSON.parse(context));
await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, cacheMode: 'disabled', pollInterval: 0 }));
const client = OpenFeature.getClient();
const tell = () => console.log(JSON.stringify(client.getStringDetails(key, 'own')));
client.addHandler(ProviderEvents.ConfigurationChanged, tell);
tell();
