/*
 * The chat page: what is shown of a `Palabre` client, and what is done with it.
 *
 * It knows the document and no stanza. Whatever comes from others goes into the document as text.
 */
(() => {
'use strict';

/** So many lines are kept of each conversation, and of the stanzas. */
const LINES_MAX = 500;
/** The server tells of rooms inside rooms one is in, not of others: those are asked for. */
const ASK_ROOMS_EVERY_MS = 15000;
const NARROW = matchMedia('(max-width: 45rem)');

const client = new Palabre();
const $ = (id) => document.getElementById(id);

/** All rooms that are known of, by name, as getrooms() gives them. */
let allRooms = new Map();
/** What is talked in, by key: { key, kind, name, log, unread }. */
const conversations = new Map();
let current = null;
let asking = false;
let drawing = false;

// Small tools

/** Makes an element; children are elements and text. */
function make(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/**
 * Puts children into an element, unless it shows the same already; whoever works with the keyboard
 * keeps the place, which is known by `data-key`.
 */
function show(element, signature, children) {
  const written = JSON.stringify(signature);
  if (element.shown === written) return;
  element.shown = written;
  const key = element.contains(document.activeElement) && document.activeElement.dataset.key;
  element.replaceChildren(...children());
  if (key) {
    const again = [...element.querySelectorAll('[data-key]')].find((one) => one.dataset.key === key);
    (again ?? $('talk-title')).focus();
  }
}

function complain(text) {
  const dismiss = make('button', { type: 'button', className: 'quiet', onclick: calm }, 'Dismiss');
  $('alert').replaceChildren(make('p', {}, text), dismiss);
}

function calm() {
  $('alert').replaceChildren();
}

/** Waits for a request; gives whether it was granted. */
async function granted(request) {
  try {
    await request();
    calm();
    return true;
  } catch (error) {
    if (!(error instanceof Palabre.Error)) throw error;
    complain(error.message);
    return false;
  }
}

/** The hue of a name, always the same one. */
function hueOf(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 9973;
  // Names that differ little get hues that differ much: steps of the golden angle.
  return Math.round(hash * 137.508) % 360;
}

// Conversations

function conversation(kind, name) {
  const key = `${kind} ${name}`;
  if (!conversations.has(key)) {
    const label = kind === 'room' ? `Messages in ${name}` : `Messages with ${name}`;
    const log = make('div', { className: 'log', hidden: true, tabIndex: 0, aria: { label } });
    log.setAttribute('role', 'log');
    $('logs').append(log);
    conversations.set(key, { key, kind, name, log, unread: 0 });
    if (!current) select(conversations.get(key));
  }
  return conversations.get(key);
}

function select(chosen) {
  current = chosen;
  for (const one of conversations.values()) one.log.hidden = one !== chosen;
  $('nothing').hidden = chosen !== null;
  if (chosen) {
    chosen.unread = 0;
    chosen.log.scrollTop = chosen.log.scrollHeight;
  }
  draw();
}

/** Shows a conversation because the user wants it, and makes ready to talk in it. */
function goTo(chosen) {
  select(chosen);
  pane('talk');
  drawNow();
  // On a phone the keyboard would cover half of what was asked for.
  (NARROW.matches ? $('talk-title') : $('text')).focus();
}

function close(closed) {
  closed.log.remove();
  conversations.delete(closed.key);
  if (current === closed) select([...conversations.values()].pop() ?? null);
  draw();
}

/** Adds a line; `parts` are elements and text. */
function line(where, className, ...parts) {
  const { log } = where;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const now = new Date();
  const time = now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  log.append(make('p', { className },
    make('span', { className: 'said' }, ...parts),
    make('time', { dateTime: now.toISOString() }, time)));
  while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function say(where, from, text, className = '') {
  const name = make('b', { className: 'from' }, from);
  name.style.setProperty('--hue', hueOf(from));
  line(where, className, name, ' ', make('span', { className: 'text' }, text));
  if (where !== current || document.hidden) {
    where.unread += 1;
    drawTitle();
    draw();
  }
}

function tellAll(className, text) {
  for (const one of conversations.values()) line(one, className, text);
}

// Drawing

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(drawNow);
}

function drawNow() {
  drawing = false;
  drawTree();
  drawPrivates();
  drawTalk();
  drawPeople();
  drawMine();
  drawTitle();
}

function drawTitle() {
  const unread = [...conversations.values()].reduce((sum, one) => sum + one.unread, 0);
  const place = current ? `${current.name} – palabre` : 'palabre';
  document.title = unread > 0 ? `(${unread}) ${place}` : place;
  const [rooms] = $('panes').children;
  show(rooms, unread, () => ['Rooms', ...(unread > 0
    ? [` (${unread}`, make('span', { className: 'unseen' }, ' new messages'), ')'] : [])]);
}

/** The rooms as they lie in each other: a list of { name, clients, inside, unread, rooms }. */
function roomTree() {
  const known = new Map([...allRooms].map(([name, room]) => [name, { ...room }]));
  for (const [name, room] of client.rooms) {
    known.set(name, { name, clients: room.clients.size, parent: room.parent });
  }
  const under = new Map();
  const list = (parent, name) => {
    if (!under.has(parent)) under.set(parent, new Set());
    under.get(parent).add(name);
  };
  for (const { name, parent } of known.values()) if (known.has(parent)) list(parent, name);
  for (const [name, { children }] of client.rooms) {
    for (const child of children) if (known.has(child.name)) list(name, child.name);
  }
  const branch = (name, above) => ({
    name,
    clients: known.get(name).clients,
    inside: client.rooms.has(name),
    unread: conversations.get(`room ${name}`)?.unread ?? 0,
    current: current?.kind === 'room' && current.name === name,
    rooms: [...(under.get(name) ?? [])].filter((child) => !above.includes(child)).sort()
      .map((child) => branch(child, [...above, name])),
  });
  const listed = new Set([...under.values()].flatMap((names) => [...names]));
  return [...known.keys()].filter((name) => !listed.has(name)).sort().map((name) => branch(name, []));
}

function drawTree() {
  const tree = roomTree();
  const item = (room) => {
    const people = room.clients === 1 ? '1 person' : `${room.clients} people`;
    const inside = room.inside ? ', you are in it' : '';
    const fresh = room.unread > 0 ? `, ${room.unread} new` : '';
    const button = make('button', {
      type: 'button',
      className: room.inside ? 'inside' : '',
      onclick: () => openRoom(room.name),
      data: { key: room.name, room: room.name },
      aria: { label: `${room.name}, ${people}${inside}${fresh}`, current: String(room.current) },
    },
    make('span', { className: 'name' }, room.name),
    ...(room.unread > 0 ? [make('span', { className: 'unread' }, String(room.unread))] : []),
    make('span', { className: 'count' }, String(room.clients)));
    const below = room.rooms.length > 0 ? [make('ul', {}, ...room.rooms.map(item))] : [];
    return make('li', {}, button, ...below);
  };
  show($('room-tree'), tree, () => tree.map(item));
  $('no-rooms').hidden = tree.length > 0;
}

function drawPrivates() {
  const privates = [...conversations.values()].filter(({ kind }) => kind === 'private')
    .map((one) => ({ name: one.name, unread: one.unread, current: one === current }));
  $('privates').hidden = privates.length === 0;
  show($('private-list'), privates, () => privates.map(({ name, unread, current: isCurrent }) => (
    make('li', {}, make('button', {
      type: 'button',
      onclick: () => goTo(conversation('private', name)),
      data: { key: name, private: name },
      aria: { current: String(isCurrent) },
    },
    make('span', { className: 'name' }, name),
    ...(unread > 0 ? [make('span', { className: 'unread', title: 'new' }, String(unread))] : [])))
  )));
}

function drawTalk() {
  const room = current?.kind === 'room' ? client.rooms.get(current.name) : null;
  const name = current?.name ?? 'No room yet';
  $('talk-title').textContent = current?.kind === 'private' ? `Private: ${name}` : name;
  $('topic').textContent = room?.params.get('title') ?? '';
  $('leave').hidden = current === null;
  $('leave').firstChild.data = current?.kind === 'private' ? 'Close' : 'Leave';
  $('leave').lastChild.hidden = current?.kind === 'private';
  const able = client.state === 'online' && (room || current?.kind === 'private');
  $('text').disabled = !able;
  $('send').disabled = !able;
  $('text').placeholder = current ? `Message to ${name}` : 'Message';
  $('text-label').textContent = $('text').placeholder;
}

function drawPeople() {
  const room = current?.kind === 'room' ? client.rooms.get(current.name) : null;
  $('of-room').hidden = !room;
  if (!room) return;
  const people = [...room.clients].map(([nick, params]) => ({
    nick, params: [...params], me: nick === client.nick, operator: room.operator && nick === client.nick,
  }));
  $('people-title').textContent = `People (${people.length})`;
  show($('roster'), people, () => people.map(({ nick, params, me, operator }) => make('li', {},
    make('button', {
      type: 'button',
      disabled: false,
      title: me ? 'Talk to yourself' : `Talk to ${nick} alone`,
      onclick: () => goTo(conversation('private', nick)),
      data: { key: nick, nick },
    }, nick),
    ...(me ? [' ', make('span', { className: 'mark' }, 'you')] : []),
    ...(operator ? [' ', make('span', { className: 'mark' }, 'operator')] : []),
    ...params.map(([name, value]) => make('span', { className: 'of' }, `${name}: ${value}`)))));
  $('operators').textContent = room.operator
    ? 'You made this room, so you are its operator.'
    : 'Who its operator is, the protocol does not tell.';
  drawParams(room);
}

function drawParams(room) {
  const open = ['1', 'true'].includes(room.params.get('openParams'));
  const able = room.operator || open;
  const params = [...room.params];
  $('rights').textContent = room.operator ? ''
    : open ? 'All members may set them; openParams only the operator.'
      : 'Only the operator may set them.';
  $('rights').hidden = room.operator;
  $('setparam').hidden = !able;
  const button = (key, label, what, onclick) => make('button', {
    type: 'button', className: 'quiet', onclick, data: { key }, aria: { label: `${label} ${what}` },
  }, label);
  const buttons = (name, value) => {
    if (name === 'openParams') {
      if (!room.operator) return [];
      const [label, next] = open ? ['Close to all', '0'] : ['Open to all', '1'];
      const set = () => granted(() => client.setparam(room.name, name, next));
      return [button('open', label, 'members: the params', set)];
    }
    if (!able) return [];
    const edit = () => {
      $('param-name').value = name;
      $('param-value').value = value;
      $('param-value').focus();
    };
    const remove = () => granted(() => client.removeparam(room.name, name));
    return [button(`edit ${name}`, 'Edit', name, edit), button(`remove ${name}`, 'Remove', name, remove)];
  };
  show($('params'), [room.name, able, room.operator, params], () => params.map(([name, value]) => (
    param(name, value, buttons(name, value)))));
}

function drawMine() {
  const params = [...client.params];
  show($('mine'), params, () => params.map(([name, value]) => param(name, value, [])));
}

function param(name, value, buttons) {
  return make('div', { data: { param: name } },
    make('dt', {}, name),
    value === '' ? make('dd', { className: 'none' }, 'empty') : make('dd', {}, value),
    ...(buttons.length > 0 ? [make('dd', { className: 'does' }, ...buttons)] : []));
}

function drawState({ state, delay, reason }) {
  const seconds = Math.max(1, Math.round((delay ?? 0) / 1000));
  $('state').textContent = {
    closed: 'not connected',
    connecting: 'connecting …',
    open: 'connected, not logged in',
    online: `online as ${client.nick}`,
    waiting: `${reason || 'no connection'}; next try in ${seconds} s`,
  }[state];
  $('state').title = $('state').textContent;
  $('state').dataset.state = state;
  $('retry').hidden = state !== 'waiting';
  $('quit').hidden = state === 'closed';
}

/** Shows the welcome or the chat. */
function view(chatting) {
  $('welcome').hidden = chatting;
  $('chat').hidden = !chatting;
  $('panes').hidden = !chatting;
}

/** Chooses what a phone shows. */
function pane(name) {
  $('chat').dataset.pane = name;
  for (const button of $('panes').children) {
    button.setAttribute('aria-pressed', String(button.dataset.pane === name));
  }
}

// What the user does

async function openRoom(name) {
  if (!client.rooms.has(name) && !await granted(() => client.join(name))) return;
  goTo(conversation('room', name));
}

async function askRooms() {
  if (asking || client.state !== 'online') return;
  asking = true;
  // A connection that ends says so elsewhere, and whatever else is refused is no news here.
  await client.getrooms().catch(() => {});
  asking = false;
}

function onSubmit(id, act) {
  $(id).addEventListener('submit', (event) => {
    event.preventDefault();
    act();
  });
}

onSubmit('login', () => {
  calm();
  const [nick, password, rootpass] = ['nick', 'password', 'rootpass'].map((id) => $(id).value);
  const url = `${location.protocol.replace('http', 'ws')}//${location.host}/`;
  granted(() => (client.state === 'open'
    ? client.login(nick, { password, rootpass })
    : client.connect(url, nick, { password, rootpass })));
});

onSubmit('join', async () => {
  const name = $('join-name').value;
  await openRoom(name);
  if (client.rooms.has(name)) $('join-name').value = '';
});

onSubmit('compose', async () => {
  const text = $('text').value;
  if (text === '' || !current) return;
  const { kind, name } = current;
  const where = current;
  $('text').value = '';
  const sent = await granted(async () => {
    if (kind === 'room') await client.say(name, text);
    else client.tell(name, text);
  });
  // What goes to one client does not come back, unless one is that client.
  if (sent && kind === 'private' && name !== client.nick) say(where, client.nick, text);
  if (!sent && $('text').value === '') $('text').value = text;
});

onSubmit('setparam', async () => {
  const [name, value] = [$('param-name').value, $('param-value').value];
  if (!await granted(() => client.setparam(current.name, name, value))) return;
  $('param-name').value = '';
  $('param-value').value = '';
});

onSubmit('addchild', async () => {
  const name = $('child-name').value;
  if (!await granted(() => client.addchild(current.name, name))) return;
  $('child-name').value = '';
  goTo(conversation('room', name));
});

onSubmit('clientparam', async () => {
  const [name, value] = [$('mine-name').value, $('mine-value').value];
  if (!await granted(() => client.clientparam(name, value))) return;
  $('mine-name').value = '';
  $('mine-value').value = '';
  draw();
});

onSubmit('raw-form', () => {
  granted(async () => client.send($('raw-xml').value));
  $('raw-xml').select();
});

$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('compose').requestSubmit();
});

$('leave').addEventListener('click', async () => {
  const left = current;
  // A room that let nobody back in is only a conversation to be closed.
  const inside = left.kind === 'room' && (client.state !== 'online' || client.rooms.has(left.name));
  if (inside && !await granted(() => client.leave(left.name))) return;
  // Without a connection nobody tells that the room was left.
  if (conversations.has(left.key)) close(left);
  $('talk-title').focus();
});

$('refresh').addEventListener('click', askRooms);
$('retry').addEventListener('click', () => client.reconnect());
$('quit').addEventListener('click', () => client.quit());
$('raw-clear').addEventListener('click', () => $('raw-log').replaceChildren());

$('raw-toggle').addEventListener('click', () => {
  const open = $('raw').hidden;
  $('raw').hidden = !open;
  $('raw-toggle').setAttribute('aria-expanded', String(open));
  $('raw-log').scrollTop = $('raw-log').scrollHeight;
});

for (const button of $('panes').children) {
  button.addEventListener('click', () => pane(button.dataset.pane));
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  if (current) current.unread = 0;
  draw();
  askRooms();
});

setInterval(() => { if (!document.hidden) askRooms(); }, ASK_ROOMS_EVERY_MS);

// What the server says

client.on('state', (event) => {
  const { state, again, reason } = event;
  drawState(event);
  if (state === 'online') {
    view(true);
    calm();
    if (again) tellAll('notice', 'Connected again.');
    else if (!current) (NARROW.matches ? $('talk-title') : $('join-name')).focus();
    if (NARROW.matches && !current) pane('rooms');
    askRooms();
  }
  if (state === 'waiting' && event.attempt === 1) {
    tellAll('notice', 'The connection is lost; it will be made again.');
  }
  if (state === 'closed') {
    for (const one of [...conversations.values()]) close(one);
    allRooms = new Map();
    view(false);
    if (reason) complain(reason);
    $('nick').focus();
  }
  draw();
});

client.on('stanza', ({ direction, xml }) => {
  const shown = direction === 'out' && /^\s*<connect\s/.test(xml)
    ? xml.replace(/(\s(?:password|rootpass)\s*=\s*)("[^"]*"|'[^']*')/g, '$1"…"') : xml;
  const log = $('raw-log');
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(make('li', { className: direction },
    make('span', { className: 'way' }, direction),
    make('span', { className: 'xml' }, shown)));
  while (log.childElementCount > LINES_MAX) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
});

client.on('joined', ({ room, nick, self }) => {
  line(conversation('room', room), 'event', self ? 'You joined.' : `${nick} joined.`);
  if (self) askRooms();
  draw();
});

client.on('left', ({ room, nick, self }) => {
  if (self) {
    const left = conversations.get(`room ${room}`);
    if (left) close(left);
    askRooms();
  } else {
    line(conversation('room', room), 'event', `${nick} left.`);
  }
  draw();
});

client.on('message', ({ room, from, text }) => say(conversation('room', room), from, text));
client.on('private', ({ from, text }) => say(conversation('private', from), from, text));

client.on('broadcast', ({ from, text }) => {
  for (const one of conversations.values()) say(one, `${from} to all`, text, 'all');
  if (conversations.size === 0) complain(`${from} to all: ${text}`);
});

client.on('custom', ({ room, from, xml }) => {
  const where = room !== null ? conversation('room', room)
    : from !== null ? conversation('private', from) : current;
  if (where) line(where, 'event', `${from ?? 'The server'} sent `, make('code', {}, xml));
});

client.on('room', ({ room, changed, isAll }) => {
  const value = changed.get('title');
  if (!isAll && value !== undefined) {
    line(conversation('room', room), 'event', value ? `The title is now: ${value}` : 'The title is now empty.');
  }
  draw();
});

client.on('childrooms', ({ room, children }) => {
  const names = new Set(children.map(({ name }) => name));
  for (const [name, { parent }] of allRooms) if (parent === room && !names.has(name)) allRooms.delete(name);
  for (const child of children) allRooms.set(child.name, child);
  draw();
});

client.on('rooms', ({ rooms }) => {
  allRooms = new Map(rooms.map((room) => [room.name, room]));
  draw();
});

client.on('clients', draw);
client.on('clientparam', draw);
client.on('info', ({ text }) => { if (current) line(current, 'notice', text); });

client.on('error', ({ text }) => {
  complain(text);
  const [, nick] = /^No user connected with nickname: (.*)$/s.exec(text) ?? [];
  const asked = conversations.get(`private ${nick}`);
  if (asked) line(asked, 'notice', text);
});

view(false);
$('nick').focus();
})();
