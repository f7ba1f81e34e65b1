// Writes what the signalling protocol is according to LiveKit's own npm package, for the Go tests of internal/rtc/signal:
// every field's number and type, and each kind of message filled in, as bytes and as JSON. `go generate` runs it.
// usage: node signal-fixtures.mjs FOLDER
import { writeFileSync } from 'node:fs';
import * as livekit from '@livekit/protocol';

const folder = process.argv[2];
const roots = [livekit.SignalRequest, livekit.SignalResponse, livekit.DataPacket, livekit.ClientInfo];
const scalars = { 1: 'double', 2: 'float', 3: 'int64', 4: 'uint64', 5: 'int32', 8: 'bool', 9: 'string', 12: 'bytes', 13: 'uint32' };

/** type names a field's type as descriptors do, without the package */
function type(field) {
	if (field.kind === 'scalar') return scalars[field.T] ?? `scalar ${field.T}`;
	if (field.kind === 'map') return `map ${scalars[field.K]} ${type(field.V)}`;
	return field.T.typeName.replace(/^livekit\./, '');
}

/** line is one field as the Go test writes it */
const line = (message, field) =>
	[message.typeName.replace(/^livekit\./, ''), field.name, field.no, field.repeated ? 'repeated' : field.opt ? 'optional' : 'single', type(field), field.oneof?.name ?? '-'].join('\t');

const lines = [];
const seen = new Set();
function describe(message) {
	if (seen.has(message.typeName)) return;
	seen.add(message.typeName);
	if (message.values) {
		for (const v of message.values) lines.push([message.typeName.replace(/^livekit\./, ''), v.name, v.no, 'value', '-', '-'].join('\t'));
		return;
	}
	for (const field of message.fields.list()) {
		lines.push(line(message, field));
		const t = field.kind === 'map' ? field.V : field;
		if (t.kind !== 'scalar') describe(t.T);
	}
}

/** value makes something for a field that differs from its zero, and from its neighbours' where it can */
function value(field, depth) {
	const t = field.kind === 'map' ? field.V : field;
	switch (t.kind) {
		case 'message':
			// a Timestamp out of range has no JSON, and the protocol's signalling has none
			return depth > 6 || t.T.typeName.startsWith('google.') ? undefined : fill(t.T, depth + 1);
		case 'enum':
			return t.T.values.at(-1).no;
	}
	switch (t.T) {
		case 3:
		case 4:
			return BigInt(1700000000000 + field.no);
		case 1:
		case 2:
			return 0.25 * field.no;
		case 8:
			return true;
		case 9:
			return `${field.name}-${field.no} ü`;
		case 12:
			return new Uint8Array([0, 255, field.no]);
		default:
			return 1000 + field.no;
	}
}

function set(message, field, depth) {
	const v = value(field, depth);
	if (v === undefined) return;
	if (field.oneof) message[field.oneof.localName] = { case: field.localName, value: v };
	else if (field.kind === 'map') message[field.localName] = field.K === 9 ? { 'a key': v } : { 7: v };
	else message[field.localName] = field.repeated ? [v] : v;
}

/** fill makes a message with every field set; of alternatives, the last */
function fill(type, depth) {
	const message = new type();
	for (const field of type.fields.list()) set(message, field, depth);
	return message;
}

const messages = [];
for (const root of roots) {
	const choices = root.fields.list().filter((f) => f.oneof);
	for (const choice of choices.length ? choices : [undefined]) {
		const message = fill(root, 0);
		if (choice) set(message, choice, 0);
		messages.push({
			message: root.typeName,
			choice: choice?.name ?? '',
			binary: Buffer.from(message.toBinary()).toString('base64'),
			json: message.toJson(),
		});
	}
}
for (const root of roots) describe(root);

writeFileSync(`${folder}/livekit-fields.txt`, lines.sort().join('\n') + '\n');
writeFileSync(`${folder}/livekit-messages.jsonl`, messages.map((m) => JSON.stringify(m)).join('\n') + '\n');
