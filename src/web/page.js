/*
 * The chat page: what is shown of a `Palabre` client, and what is done with it.
 *
 * It knows the document and no stanza. Whatever comes from others goes into the document as text.
 * What is shown is kept as it is until it changes: an element that somebody is about to click, or
 * that has the focus, is not made anew because of what goes on elsewhere.
 */
(() => {
'use strict';

/** So many lines are kept of each conversation, and of the stanzas; of these so many characters. */
const LINES_MAX = 500;
const STANZAS_CHARACTERS_MAX = 500000;
/** Of an element that the page does not know so much is shown. */
const CUSTOM_CHARACTERS_MAX = 2000;
const COMPLAINTS_MAX = 3;
/** The server tells of rooms inside rooms one is in, not of others: those are asked for, the less
 * often the more there are. */
const ASK_ROOMS_EVERY_MS = 15000;
const ASK_ROOMS_MS_FOR_EACH = 25;
const ASK_ROOMS_AFTER_REFUSAL_MS = 120000;
/** So many rooms are asked for at once when one has joined or left one. */
const FEW_ROOMS = 500;
/** A page that nobody looks at has no frames, but draws all the same. */
const DRAW_WITHIN_MS = 250;
/** Whoever presses a button for longer has thought better of it. */
const PRESS_MAX_MS = 5000;
/** So near to its end a log is taken to be at its end, in pixels. */
const NEAR_END = 40;
const NARROW = matchMedia('(max-width: 45rem)');

/** What is typed and not sent yet, for each conversation. */
const FIELDS = ['text', 'param-name', 'param-value', 'child-name'];

const HELP = `/join R      enters the room R, which is made if need be
/leave [R]   leaves R, or the room that is shown
/msg N text  to the nick N alone
/say R text  to the room R
/rooms       asks for the list of rooms
/help        this help
/quit        leaves the server
//text       sends /text; anything else is sent as it is
A name with blanks in it stands in quotes: /msg "Ann Lee" hi; a quote in it is \\"`;

const client = new Palabre();
const $ = (id) => document.getElementById(id);

/** All rooms that are known of, by name, as getrooms() gives them. */
let allRooms = new Map();
/** What became of the last question for them: '', 'listed' or 'refused'. */
let roomsAnswer = '';
let askingRooms = false;
let roomsAskedAt = -Infinity;
/** What is talked in, by key: { key, kind, name, log, unread, drafts, own, atEnd, top }. */
const conversations = new Map();
/** What is typed while there is no conversation. */
const nowhere = { drafts: {} };
let current = null;
/** The nick whose conversations these are. */
let owner = null;
/** Whether the rooms are entered again. */
let ready = false;
const awaitingRooms = new Set();
/** Rooms that the user is leaving. */
const leaving = new Set();
/** Counts what the user has turned to, so that nothing late turns the page elsewhere. */
let turns = 0;
let complaints = [];

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

/** A name as it is shown: what would turn the text around it is spelled out. */
function shown(name) {
  return name.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\p{Cc}]/gu, (character) => (
    `\\u{${character.codePointAt(0).toString(16)}}`));
}

/** A name within other text, in its own direction. */
function nameOf(name) {
  return make('bdi', {}, shown(name));
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** By element, what showItems() shows in it. */
const childrenOf = new WeakMap();

/**
 * Shows items, each with a `key`, as the children of an element. A child stays the same element as
 * long as its item is there, and is not moved because of others; `update` shows what has changed.
 */
function showItems(parent, items, makeChild, update) {
  if (!childrenOf.has(parent)) childrenOf.set(parent, new Map());
  const children = childrenOf.get(parent);
  const keys = new Set(items.map(({ key }) => key));
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const [key, child] of children) {
    if (keys.has(key)) continue;
    children.delete(key);
    if (focused && child.contains(focused)) focusBeside(child);
    child.remove();
  }
  let place = parent.firstElementChild;
  for (const item of items) {
    let child = children.get(item.key);
    if (!child) {
      child = makeChild(item);
      children.set(item.key, child);
      parent.insertBefore(child, place);
    } else if (child !== place) {
      // One that has gone to a place further down is the one to be moved.
      if (place.nextElementSibling === child) parent.append(place);
      else parent.insertBefore(child, place);
    }
    place = child.nextElementSibling;
    update(child, item);
  }
  if (focused?.isConnected && document.activeElement !== focused) focused.focus();
}

/** Puts an element before another, or takes it away. */
function showBefore(place, element, wanted) {
  if (wanted && element.nextSibling !== place) place.before(element);
  else if (!wanted && element.isConnected) element.remove();
}

/** The focus of an element that goes moves to its neighbour. */
function focusBeside(child) {
  const beside = child.nextElementSibling ?? child.previousElementSibling;
  (beside?.querySelector('button') ?? $('talk-title')).focus();
}

/** Complains of something; `about` is what has to succeed for the complaint to go by itself. */
function complain(text, about = '') {
  const isOther = (one) => one.text !== text && (about === '' || one.about !== about);
  complaints = complaints.filter(isOther);
  complaints.unshift({ key: text, text, about });
  complaints.splice(COMPLAINTS_MAX);
  draw('complaints');
  if (!pressed) drawComplaints();
}

function calm(about) {
  complaints = complaints.filter((one) => one.about !== about);
  draw('complaints');
}

/** Waits for a request; gives whether it was granted. */
async function granted(about, request) {
  try {
    await request();
    calm(about);
    return true;
  } catch (error) {
    if (!(error instanceof Palabre.Error)) throw error;
    if (error.code !== 'abandoned') complain(error.message, about);
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

function keyOf(kind, name) {
  // Nicks that differ in case are the same nick.
  return `${kind} ${kind === 'room' ? name : name.normalize('NFKC').toLowerCase()}`;
}

function conversation(kind, name) {
  const key = keyOf(kind, name);
  if (!conversations.has(key)) {
    const label = kind === 'room' ? `Messages in ${shown(name)}` : `Messages with ${shown(name)}`;
    const log = make('div', { className: 'log', hidden: true, tabIndex: 0, aria: { label } });
    log.setAttribute('role', 'log');
    $('logs').append(log);
    const made = { key, kind, name, log, unread: 0, drafts: {}, own: [], atEnd: true, top: 0 };
    conversations.set(key, made);
    log.addEventListener('scroll', () => scrolled(made));
    boxes.observe(log);
    if (!current) select(made);
    draw('tree', 'privates');
  }
  return conversations.get(key);
}

function select(chosen) {
  if (current !== chosen) {
    const [before, after] = [(current ?? nowhere).drafts, (chosen ?? nowhere).drafts];
    for (const id of FIELDS) {
      before[id] = $(id).value;
      $(id).value = after[id] ?? '';
    }
  }
  current = chosen;
  turns += 1;
  for (const one of conversations.values()) one.log.hidden = one !== chosen;
  $('nothing').hidden = chosen !== null;
  if (chosen) {
    chosen.unread = 0;
    toEnd(chosen);
  }
  draw('badges', 'privates', 'talk', 'people', 'params', 'title');
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
  boxes.unobserve(closed.log);
  closed.log.remove();
  conversations.delete(closed.key);
  if (current === closed) {
    select([...conversations.values()].pop() ?? null);
    // What was typed in what is closed stays nowhere.
    for (const id of FIELDS) if (!current) $(id).value = '';
  }
  draw('tree', 'privates', 'title');
}

/** Puts a text back to where it was typed, if nothing else is there by now. */
function putBack(where, text) {
  const { drafts } = where ?? nowhere;
  if (where === current && $('text').value === '') $('text').value = text;
  else if (where !== current && !drafts.text) drafts.text = text;
  else return false;
  return true;
}

/** Empties fields that were typed in a conversation, unless something else stands there by now. */
function used(where, values) {
  for (const [id, value] of Object.entries(values)) {
    if (where === current && $(id).value === value) $(id).value = '';
    else if (where !== current && where.drafts[id] === value) where.drafts[id] = '';
  }
}

// A log follows what is said, unless its reader has gone up in it.

const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const one = [...conversations.values()].find(({ log }) => log === target);
    if (one?.atEnd) toEnd(one);
  }
});

function scrolled(one) {
  const { scrollTop, scrollHeight, clientHeight } = one.log;
  if (scrollHeight - scrollTop - clientHeight < NEAR_END) one.atEnd = true;
  else if (scrollTop < one.top) one.atEnd = false;
  one.top = scrollTop;
}

function toEnd(one) {
  one.atEnd = true;
  if (pressed) {
    draw('ends');
    return;
  }
  one.log.scrollTop = one.log.scrollHeight;
  one.top = one.log.scrollTop;
}

/** Adds a line; `parts` are elements and text. */
function line(where, className, ...parts) {
  const now = new Date();
  const time = now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const added = make('p', { className },
    make('span', { className: 'said' }, ...parts),
    make('time', { dateTime: now.toISOString() }, time));
  where.log.append(added);
  let oldest = where.log.firstElementChild;
  while (oldest && where.log.childElementCount > LINES_MAX) {
    const next = oldest.nextElementSibling;
    // What was not sent is not lost either.
    if (!oldest.querySelector('.fate')) oldest.remove();
    oldest = next;
  }
  draw('ends');
  return added;
}

function say(where, from, text, className = '') {
  const name = make('b', { className: 'from' }, nameOf(from));
  name.style.setProperty('--hue', hueOf(from));
  const said = make('span', { className: 'text', dir: 'auto' }, text);
  return line(where, className, name, ' ', said);
}

/** Shows what others have said. */
function hear(where, ...said) {
  say(where, ...said);
  if (where !== current || document.hidden) {
    where.unread += 1;
    drawTitle();
    draw('badges', 'privates');
  }
}

function tellAll(className, text) {
  for (const one of conversations.values()) line(one, className, text);
}

/** Something that the server, or a plugin of it, says to nobody in particular. */
function notice(...parts) {
  if (current) line(current, 'notice', ...parts);
  else complain(parts.map((part) => part.textContent ?? part).join(''));
}

// What the user has said: it is shown at once, and as sent when the server has confirmed it.

/** Waits until the rooms are entered again, if the connection is that far. */
function backInRooms() {
  if (ready || client.state !== 'online') return null;
  return new Promise((resolve) => { awaitingRooms.add(resolve); });
}

function setReady(isReady) {
  ready = isReady;
  for (const resolve of awaitingRooms) resolve();
  awaitingRooms.clear();
}

/** Sends a text to a conversation; `again` is what was not confirmed before. */
async function send(where, text, again = null) {
  const message = again ?? { text, line: say(where, client.nick, text) };
  if (!again) where.own.push(message);
  show(where, message, 'sending');
  where.atEnd = true;
  try {
    await backInRooms();
    await (where.kind === 'room' ? client.say(where.name, text) : client.tell(where.name, text));
    confirm(where, message);
  } catch (error) {
    if (!(error instanceof Palabre.Error)) throw error;
    if (message.state !== 'sending') return;
    const unsent = ['too_long', 'not_connected'].includes(error.code);
    // Whoever has turned to another conversation is to know it as well.
    if (unsent || error.code === 'refused') complain(error.message, where.key);
    if (unsent && putBack(where, text)) discard(where, message);
    else show(where, message, error.code === 'timeout' ? 'late' : 'failed', error);
  }
}

/** Shows how it stands with a message of one's own. */
function show(where, message, state, error = null) {
  message.state = state;
  message.line.classList.toggle('sending', state === 'sending');
  message.line.classList.toggle('failed', error !== null);
  message.line.querySelector('.fate')?.remove();
  const button = (label, onclick) => (
    make('button', { type: 'button', className: 'quiet', onclick }, label));
  const unsent = ['refused', 'too_long', 'not_connected'].includes(error?.code);
  const fate = error === null ? ['sending …'] : [
    `${unsent ? 'not sent' : 'not confirmed'}: ${error.message}`,
    button('Send again', () => send(where, message.text, message)),
    button('Discard', () => discard(where, message)),
  ];
  // That it is on its way is no news.
  const hidden = String(error === null);
  const shownFate = make('span', { className: 'fate', aria: { hidden } }, ...fate);
  message.line.lastElementChild.before(shownFate);
  draw('ends');
}

function confirm(where, message) {
  if (!where.own.includes(message)) return;
  where.own.splice(where.own.indexOf(message), 1);
  message.state = 'sent';
  message.line.classList.remove('sending', 'failed');
  message.line.querySelector('.fate').remove();
  // Everybody has it in this place.
  const isLast = message.line === where.log.lastElementChild;
  if (where.kind === 'room' && !isLast) where.log.append(message.line);
  calm(where.key);
  draw('ends');
}

function discard(where, message) {
  where.own.splice(where.own.indexOf(message), 1);
  message.line.remove();
  $('text').focus();
}

/** What has come back is shown already. */
function isBack(where, from, text) {
  if (from !== client.nick) return false;
  const same = (state) => where.own.find((message) => (
    message.state === state && Palabre.text(message.text) === text));
  const message = same('sending') ?? same('late');
  if (message) confirm(where, message);
  return message !== undefined;
}

// Drawing

const stale = new Set();
let drawing = false;
let pressed = false;

function draw(...parts) {
  for (const part of parts) stale.add(part);
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(drawStale);
  setTimeout(drawStale, DRAW_WITHIN_MS);
}

function drawStale() {
  if (drawing) drawNow();
}

/** Draws what has changed; nothing moves while a button is pressed, or the click would be lost. */
function drawNow() {
  if (pressed) return;
  drawing = false;
  const parts = new Set(stale);
  stale.clear();
  if (parts.has('complaints')) drawComplaints();
  if (parts.has('tree')) drawTree();
  if (parts.has('tree') || parts.has('badges')) drawBadges(parts.has('tree'));
  if (parts.has('privates')) drawPrivates();
  if (parts.has('talk')) drawTalk();
  if (parts.has('people')) drawPeople();
  if (parts.has('params')) drawParams();
  if (parts.has('mine')) drawMine();
  if (parts.has('badges') || parts.has('title')) drawTitle();
  for (const one of conversations.values()) if (one.atEnd && !one.log.hidden) toEnd(one);
}

function press() {
  pressed = true;
  clearTimeout(press.timer);
  press.timer = setTimeout(release, PRESS_MAX_MS);
}

function release() {
  pressed = false;
  clearTimeout(press.timer);
  if (stale.size > 0) drawNow();
}

function drawComplaints() {
  const dismiss = (key) => () => {
    complaints = complaints.filter((one) => one.key !== key);
    drawComplaints();
  };
  const makeComplaint = ({ key, text }) => make('div', {},
    make('p', { dir: 'auto' }, text),
    make('button', { type: 'button', className: 'quiet', onclick: dismiss(key) }, 'Dismiss'));
  showItems($('alert'), complaints, makeComplaint, () => {});
}

function drawTitle() {
  const unread = [...conversations.values()].reduce((sum, one) => sum + one.unread, 0);
  const place = current ? `${shown(current.name)} – palabre` : 'palabre';
  document.title = unread > 0 ? `(${unread}) ${place}` : place;
  $('unread').hidden = unread === 0;
  setText($('unread-count'), String(unread));
}

/** The rooms as they lie in each other: a list of { key, name, rooms }. */
function roomTree() {
  const parents = new Map([...allRooms].map(([name, room]) => [name, room.parent]));
  for (const [name, room] of client.rooms) parents.set(name, room.parent);
  const under = new Map();
  const list = (parent, name) => {
    if (!under.has(parent)) under.set(parent, new Set());
    under.get(parent).add(name);
  };
  for (const [name, parent] of parents) if (parents.has(parent)) list(parent, name);
  for (const [name, { children }] of client.rooms) {
    for (const child of children) if (parents.has(child.name)) list(name, child.name);
  }
  // What lies in a room that is listed in many is shown once.
  const opened = new Set();
  const branch = (name, above) => {
    const key = `${above}\n${name}`;
    const inside = opened.has(name) ? [] : [...(under.get(name) ?? [])].sort();
    opened.add(name);
    return { key, name, rooms: inside.map((child) => branch(child, key)) };
  };
  const listed = new Set([...under.values()].flatMap((names) => [...names]));
  const top = [...parents.keys()].filter((name) => !listed.has(name)).sort();
  return top.map((name) => branch(name, ''));
}

/** The items of the tree, as they are shown, by room. */
let treeItems = new Map();

function drawTree() {
  treeItems = new Map();
  const makeItem = ({ name }) => {
    const unread = make('span', { className: 'unread' });
    const count = make('span', { className: 'count' });
    const button = make('button', {
      type: 'button', onclick: () => openRoom(name), data: { key: name, room: name },
    }, make('span', { className: 'name' }, nameOf(name)), count);
    const below = make('ul', { hidden: true });
    return Object.assign(make('li', {}, button, below), { item: { button, below, unread, count } });
  };
  const update = ({ item }, { name, rooms }) => {
    if (!treeItems.has(name)) treeItems.set(name, []);
    treeItems.get(name).push(item);
    item.below.hidden = rooms.length === 0;
    showItems(item.below, rooms, makeItem, update);
  };
  const tree = roomTree();
  showItems($('room-tree'), tree, makeItem, update);
  const unsent = roomsAnswer === 'refused';
  $('no-rooms').hidden = !unsent && (tree.length > 0 || roomsAnswer === '');
  setText($('no-rooms'), unsent
    ? 'There are more rooms than the server can list. Type the name of the one you look for.'
    : 'There are no rooms yet. Make the first one.');
}

/** Shows how it stands with all rooms, or with those that one is in or talks in. */
function drawBadges(all) {
  const talked = [...conversations.values()].map(({ name }) => name);
  const names = all ? treeItems.keys() : new Set([...client.rooms.keys(), ...talked]);
  for (const name of names) {
    const mine = client.rooms.get(name);
    const clients = mine ? mine.clients.size : allRooms.get(name)?.clients ?? 0;
    const unread = conversations.get(keyOf('room', name))?.unread ?? 0;
    const isCurrent = current?.kind === 'room' && current.name === name;
    for (const item of treeItems.get(name) ?? []) {
      drawBadge(item, name, { clients, unread, isCurrent, isMine: mine !== undefined });
    }
  }
}

function drawBadge(item, name, state) {
  const { clients, unread, isCurrent, isMine } = state;
  const before = item.state;
  if (before && Object.keys(state).every((key) => before[key] === state[key])) return;
  item.state = state;
  const people = clients === 1 ? '1 person' : `${clients} people`;
  const fresh = unread > 0 ? `, ${unread} new` : '';
  const label = `${shown(name)}, ${people}${isMine ? ', you are in it' : ''}${fresh}`;
  item.button.className = isMine ? 'inside' : '';
  item.button.setAttribute('aria-label', label);
  item.button.setAttribute('aria-current', String(isCurrent));
  setText(item.unread, String(unread));
  showBefore(item.count, item.unread, unread > 0);
  setText(item.count, String(clients));
}

function drawPrivates() {
  const privates = [...conversations.values()].filter(({ kind }) => kind === 'private');
  $('privates').hidden = privates.length === 0;
  const makeItem = (one) => {
    const unread = make('span', { className: 'unread', title: 'new' });
    const name = make('span', { className: 'name' }, nameOf(one.name));
    const end = document.createTextNode('');
    const button = make('button', {
      type: 'button', onclick: () => goTo(one), data: { key: one.name, private: one.name },
    }, name, end);
    return Object.assign(make('li', {}, button), { unread, end });
  };
  showItems($('private-list'), privates, makeItem, (item, one) => {
    setAttribute(item.firstElementChild, 'aria-current', String(one === current));
    setText(item.unread, String(one.unread));
    showBefore(item.end, item.unread, one.unread > 0);
  });
}

function drawTalk() {
  const room = current?.kind === 'room' ? client.rooms.get(current.name) : null;
  const isPrivate = current?.kind === 'private';
  const name = current ? shown(current.name) : 'No room yet';
  const title = isPrivate ? `Private: ${name}` : name;
  if ($('talk-title').textContent !== title) {
    $('talk-title').replaceChildren(isPrivate ? 'Private: ' : '', make('bdi', {}, name));
  }
  setText($('topic'), room?.params.get('title') ?? '');
  $('leave').hidden = current === null;
  const leaves = current?.kind === 'room' && (room || client.state !== 'online');
  $('leave').firstChild.data = leaves ? 'Leave' : 'Close';
  $('leave').lastChild.hidden = !leaves;
  const text = $('text');
  // Commands can be typed anywhere.
  const able = client.state === 'online';
  if (!able && document.activeElement === text) drawTalk.hadFocus = true;
  text.disabled = !able;
  $('send').disabled = !able;
  if (able && drawTalk.hadFocus) {
    drawTalk.hadFocus = false;
    if (document.activeElement === document.body) text.focus();
  }
  const outside = current?.kind === 'room' && !room && ready;
  const what = outside ? `You are not in ${name}` : current ? `Message to ${name}` : 'Message';
  if (text.placeholder !== what) text.placeholder = what;
  setText($('text-label'), what);
}

function drawPeople() {
  const room = current?.kind === 'room' ? client.rooms.get(current.name) : null;
  $('of-room').hidden = !room;
  if (!room) return;
  setText($('people-title'), `People (${room.clients.size})`);
  const people = [...room.clients].map(([nick, params]) => ({ key: nick, params }));
  showItems($('roster'), people, makePerson, (item, { key, params }) => {
    const me = key === client.nick;
    const operator = me && room.operator;
    const written = me || params.size > 0 ? JSON.stringify([me, operator, ...params]) : '';
    if (item.written === written) return;
    item.written = written;
    const title = me ? 'Talk to yourself' : `Talk to ${shown(key)} alone`;
    setAttribute(item.firstElementChild, 'title', title);
    showBefore(item.end, item.you, me);
    showBefore(item.params, item.operator, operator);
    item.params.replaceChildren(...[...params].map(([name, value]) => (
      make('span', { className: 'of' }, nameOf(name), ': ', make('bdi', {}, value)))));
  });
  setText($('operators'), room.operator
    ? 'You made this room, so you are its operator.'
    : 'Who its operator is, the protocol does not tell.');
}

function makePerson({ key: nick }) {
  const you = make('span', { className: 'mark' }, 'you');
  const operator = make('span', { className: 'mark' }, 'operator');
  const params = make('span', {});
  const end = document.createTextNode(' ');
  const button = make('button', {
    type: 'button',
    title: `Talk to ${shown(nick)} alone`,
    onclick: () => goTo(conversation('private', nick)),
    data: { key: nick, nick },
  }, nameOf(nick));
  const item = make('li', {}, button, ' ', end, params);
  return Object.assign(item, { you, operator, params, end, written: '' });
}

function drawParams() {
  const room = current?.kind === 'room' ? client.rooms.get(current.name) : null;
  if (!room) return;
  const open = ['1', 'true'].includes(room.params.get('openParams'));
  const able = room.operator || open;
  setText($('rights'), room.operator ? ''
    : open ? 'All members may set them; openParams only the operator.'
      : 'Only the operator may set them.');
  $('rights').hidden = room.operator;
  $('setparam').hidden = !able;
  // The buttons are those of this room.
  const params = [...room.params]
    .map(([name, value]) => ({ key: `${room.name}\n${name}`, name, value }));
  const makeOne = ({ name }) => makeParam(name, buttonsOf(room.name, name));
  showItems($('params'), params, makeOne, (item, { name, value }) => {
    updateParam(item, value);
    item.lastElementChild.hidden = name === 'openParams' ? !room.operator : !able;
    if (name !== 'openParams') return;
    const [label, next] = open ? ['Close to all', '0'] : ['Open to all', '1'];
    const [button] = item.lastElementChild.children;
    Object.assign(button.dataset, { next });
    setText(button, label);
    setAttribute(button, 'aria-label', `${label} members: the params`);
  });
}

/** What can be done with a param of a room. */
function buttonsOf(room, name) {
  const button = (label, onclick) => make('button', {
    type: 'button', className: 'quiet', onclick, aria: { label: `${label} ${shown(name)}` },
  }, label);
  if (name === 'openParams') {
    return [button('', ({ currentTarget: { dataset } }) => (
      granted('params', () => client.setparam(room, name, dataset.next))))];
  }
  const edit = () => {
    $('param-name').value = name;
    $('param-value').value = client.rooms.get(room)?.params.get(name) ?? '';
    $('param-value').focus();
  };
  const remove = () => granted('params', () => client.removeparam(room, name));
  return [button('Edit', edit), button('Remove', remove)];
}

function makeParam(name, buttons) {
  return make('div', { data: { param: name } },
    make('dt', {}, nameOf(name)),
    make('dd', { dir: 'auto' }),
    make('dd', { className: 'does' }, ...buttons));
}

function updateParam(item, value) {
  const [, shownValue] = item.children;
  shownValue.className = value === '' ? 'none' : '';
  setText(shownValue, value === '' ? 'empty' : value);
}

function drawMine() {
  const params = [...client.params].map(([name, value]) => ({ key: name, value }));
  const makeOne = ({ key }) => makeParam(key, []);
  showItems($('mine'), params, makeOne, (item, { value }) => updateParam(item, value));
}

function drawState({ state, delay, reason }) {
  const seconds = Math.max(1, Math.round((delay ?? 0) / 1000));
  const text = {
    closed: 'not connected',
    connecting: 'connecting …',
    open: 'connected, not logged in',
    online: `online as ${shown(client.nick ?? '')}`,
    waiting: `${reason || 'no connection'}; next try in ${seconds} s`,
  }[state];
  $('state').textContent = text;
  $('state').title = text;
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

/** Enters a room, and shows it if the user has not turned to something else meanwhile. */
async function openRoom(name) {
  turns += 1;
  const turn = turns;
  let room = client.rooms.get(name);
  const join = async () => { room = await client.join(name); };
  if (!room && !await granted('join', join)) return false;
  const entered = conversation('room', room.name);
  if (turn === turns || entered === current) goTo(entered);
  return true;
}

async function leaveRoom(name) {
  leaving.add(name);
  const left = await granted('leave', async () => {
    try {
      await client.leave(name);
    } catch (error) {
      // A room that let nobody back in is only a conversation to be closed; one that was being
      // left when the connection went is not entered again.
      const known = conversations.has(keyOf('room', name));
      if (error.code === 'closed') await client.leave(name).catch(() => {});
      else if (!known || !['refused', 'not_connected'].includes(error.code)) throw error;
    }
  });
  leaving.delete(name);
  const closed = conversations.get(keyOf('room', name));
  if (left && closed) close(closed);
  if (left) $('talk-title').focus();
}

async function askRooms() {
  if (askingRooms || client.state !== 'online') return;
  askingRooms = true;
  roomsAskedAt = Date.now();
  try {
    await client.getrooms();
  } catch (error) {
    // A connection that ends says so elsewhere.
    if (error.code === 'refused') roomsAnswer = 'refused';
    draw('tree');
  }
  askingRooms = false;
}

function askRoomsInTime() {
  const every = roomsAnswer === 'refused' ? ASK_ROOMS_AFTER_REFUSAL_MS
    : Math.max(ASK_ROOMS_EVERY_MS, allRooms.size * ASK_ROOMS_MS_FOR_EACH);
  if (Date.now() - roomsAskedAt >= every) askRooms();
}

function askFewRooms() {
  if (roomsAnswer !== 'refused' && allRooms.size < FEW_ROOMS) askRooms();
}

/** A word, or what stands in quotes, in which \" and \\ are a quote and a backslash. */
const NAME_AND_REST = /^(?:"((?:[^"\\]|\\["\\]|\\(?!["\\]))*)"(?!\S)|([^"\s]\S*|))\s*([^]*)$/;

/** Splits a name from what stands behind it; gives null where a quote is not closed. */
function splitName(rest) {
  const [all, quoted, plain, text] = NAME_AND_REST.exec(rest) ?? [];
  if (all === undefined || quoted === undefined && rest.startsWith('"')) return null;
  return [quoted === undefined ? plain : quoted.replace(/\\(["\\])/g, '$1'), text.trim()];
}

/** A name that is all there is: in quotes or not, it may have blanks. */
function wholeName(rest) {
  const [name, text] = splitName(rest) ?? [rest, ''];
  return text === '' ? name : rest;
}

/** What can be asked for behind a slash. Each gives false, or what is wrong, if it was not done. */
const COMMANDS = {
  join(rest) {
    const name = wholeName(rest);
    return name === '' ? '/join R: a room is missing' : openRoom(name);
  },

  leave(rest) {
    const name = wholeName(rest);
    if (name === '' && !current) return '/leave R: a room is missing';
    if (name === '' && current.kind === 'private') close(current);
    else leaveRoom(name === '' ? current.name : name);
    return true;
  },

  msg(rest) {
    const [name, text] = splitName(rest) ?? ['', ''];
    if (name === '' || text === '') return '/msg N text: a nick or the text is missing';
    const where = conversation('private', name);
    goTo(where);
    send(where, text);
    return true;
  },

  say(rest) {
    const [name, text] = splitName(rest) ?? ['', ''];
    if (name === '' || text === '') return '/say R text: a room or the text is missing';
    if (!client.rooms.has(name)) return `/say: you are not in the room ${shown(name)}`;
    const where = conversation('room', name);
    goTo(where);
    send(where, text);
    return true;
  },

  rooms() {
    askRooms();
    pane('rooms');
    return true;
  },

  help() {
    if (current) line(current, 'notice', make('code', { className: 'text' }, HELP));
    else setText($('nothing'), HELP);
    return true;
  },

  nick: () => `You are ${shown(client.nick)}. To be somebody else, leave the server first.`,

  quit() {
    client.quit();
    return true;
  },
};

/** What is shown as nothing, or as a blank. */
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{C}\p{Z}\s\u2800\u{1d159}]/gu;

/**
 * What a text begins with that looks like a command and is none, so that everybody would read it:
 * something unseen stands before the slash, or it is another letter that looks like one.
 */
function disguise(text) {
  const seen = [...text.replace(UNSEEN, '')].slice(0, 2).join('').normalize('NFKC');
  return /^[/\u2044\u2215\u2571\u27cb\u29f8][a-z]/i.test(seen) ? text.codePointAt(0) : null;
}

/** Does what a text means that was typed; gives false, or what is wrong, if it was not done. */
function perform(text) {
  const typed = text.trimStart();
  if (typed.startsWith('/') && !typed.startsWith('//')) {
    const [, name, rest] = /^\/(\S*)\s*([^]*)$/.exec(typed);
    if (Object.hasOwn(COMMANDS, name)) return COMMANDS[name](rest.trim());
    const hint = 'see /help; a text that begins with a slash is sent with two';
    return `/${shown(name)}: no such command, ${hint}`;
  }
  const slashed = typed.startsWith('//');
  const first = slashed ? null : disguise(typed);
  if (first !== null) {
    const code = first.toString(16).toUpperCase().padStart(4, '0');
    return `This looks like a command and begins with U+${code}, so it was not sent: type it anew.`;
  }
  const message = slashed ? typed.slice(1) : text;
  if (!current) return 'Join a room first: nobody would hear this.';
  if (current.kind === 'room' && ready && !client.rooms.has(current.name)) {
    return `You are not in ${shown(current.name)}: nobody would hear this.`;
  }
  send(current, message);
  return true;
}

function onSubmit(id, act) {
  $(id).addEventListener('submit', (event) => {
    event.preventDefault();
    act();
  });
}

function forgetPasswords() {
  $('password').value = '';
  $('rootpass').value = '';
}

onSubmit('login', async () => {
  const [nick, password, rootpass] = ['nick', 'password', 'rootpass'].map((id) => $(id).value);
  const url = `${location.protocol.replace('http', 'ws')}//${location.host}/`;
  await granted('connection', async () => {
    try {
      await (client.state === 'open' ? client.login(nick, { password, rootpass })
        : client.connect(url, nick, { password, rootpass }));
    } catch (error) {
      // Only those that may still be needed for the same nick stay.
      if (error.code === 'refused' && !error.message.startsWith('Nickname')) forgetPasswords();
      throw error;
    }
  });
});

onSubmit('join', async () => {
  const name = $('join-name').value;
  if (await openRoom(name) && $('join-name').value === name) $('join-name').value = '';
});

onSubmit('compose', async () => {
  const text = $('text').value;
  if (text.trim() === '' || $('text').disabled) return;
  const where = current;
  $('text').value = '';
  const done = await perform(text);
  if (done === true) calm('typed');
  else putBack(where, text);
  if (typeof done === 'string') complain(done, 'typed');
});

onSubmit('setparam', async () => {
  const where = current;
  const values = { 'param-name': $('param-name').value, 'param-value': $('param-value').value };
  const [name, value] = Object.values(values);
  if (await granted('params', () => client.setparam(where.name, name, value))) used(where, values);
});

onSubmit('addchild', async () => {
  const where = current;
  const values = { 'child-name': $('child-name').value };
  turns += 1;
  const turn = turns;
  let room = null;
  const add = async () => { room = await client.addchild(where.name, values['child-name']); };
  if (!await granted('addchild', add)) return;
  used(where, values);
  const entered = conversation('room', room.name);
  if (turn === turns || entered === current) goTo(entered);
});

onSubmit('clientparam', async () => {
  const [name, value] = [$('mine-name').value, $('mine-value').value];
  if (!await granted('mine', () => client.clientparam(name, value))) return;
  if ($('mine-name').value === name) $('mine-name').value = '';
  if ($('mine-value').value === value) $('mine-value').value = '';
  draw('mine');
});

onSubmit('raw-form', async () => {
  const xml = $('raw-xml').value;
  await granted('raw', async () => client.send(xml));
  if (hasPassword(xml)) $('raw-xml').value = '';
  $('raw-xml').select();
});

$('text').addEventListener('input', () => { turns += 1; });

$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('compose').requestSubmit();
});

$('leave').addEventListener('click', () => {
  if (current.kind === 'room') {
    leaveRoom(current.name);
  } else {
    close(current);
    $('talk-title').focus();
  }
});

$('refresh').addEventListener('click', askRooms);
$('retry').addEventListener('click', () => client.reconnect());
$('quit').addEventListener('click', () => client.quit());

for (const button of $('panes').children) {
  button.addEventListener('click', () => pane(button.dataset.pane));
}

document.addEventListener('pointerdown', press, true);
// The click comes behind the end of the press.
for (const type of ['pointerup', 'pointercancel']) {
  document.addEventListener(type, () => setTimeout(release), true);
}
addEventListener('blur', release);

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  if (current) current.unread = 0;
  draw('badges', 'privates', 'title');
  askRoomsInTime();
});

setInterval(() => { if (!document.hidden) askRoomsInTime(); }, ASK_ROOMS_EVERY_MS / 5);

// The stanzas

/** The lengths of those that are shown. */
const shownStanzas = [];
let shownCharacters = 0;

function hasPassword(xml) {
  return /\s(password|rootpass)\s*=/.test(xml);
}

$('raw-toggle').addEventListener('click', () => {
  const open = $('raw').hidden;
  $('raw').hidden = !open;
  $('raw-toggle').setAttribute('aria-expanded', String(open));
  $('raw-log').scrollTop = $('raw-log').scrollHeight;
});

$('raw-clear').addEventListener('click', () => {
  $('raw-log').replaceChildren();
  shownStanzas.length = 0;
  shownCharacters = 0;
});

client.on('ready', () => {
  setReady(true);
  draw('talk');
});

client.on('stanza', ({ direction, xml }) => {
  const open = direction === 'out' && hasPassword(xml)
    ? xml.replace(/(\s(?:password|rootpass)\s*=\s*)("[^"]*"|'[^']*')/g, '$1"…"') : xml;
  const log = $('raw-log');
  const isSeen = !$('raw').hidden;
  const atEnd = isSeen && log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
  // What only marks the end of an answer is not what one looks for.
  const fence = xml === '<ping />' || xml === '<pong />' ? ' fence' : '';
  log.append(make('li', { className: direction + fence },
    make('span', { className: 'way' }, direction),
    make('span', { className: 'xml', dir: 'ltr' }, open)));
  shownStanzas.push(open.length);
  shownCharacters += open.length;
  while (shownStanzas.length > LINES_MAX || shownCharacters > STANZAS_CHARACTERS_MAX) {
    shownCharacters -= shownStanzas.shift();
    log.firstElementChild.remove();
  }
  if (atEnd) log.scrollTop = log.scrollHeight;
});

// What the server says

/** The connection was lost, and whoever talks knows it. */
let lost = false;

client.on('state', (event) => {
  const { state, again, reason, cause } = event;
  setReady(false);
  drawState(event);
  if (state === 'online') {
    if (owner !== client.nick) forgetAll();
    owner = client.nick;
    lost = false;
    forgetPasswords();
    view(true);
    calm('connection');
    if (again) tellAll('notice', 'Connected again.');
    else if (!current) (NARROW.matches ? $('talk-title') : $('join-name')).focus();
    if (NARROW.matches && !current) pane('rooms');
    askRooms();
  }
  if (state === 'waiting') {
    // The last words of a connection are forgotten with the next one.
    for (const one of complaints) if (one.text === reason) one.about = 'connection';
  }
  if (state === 'waiting' && !lost) {
    lost = true;
    tellAll('notice', 'The connection is lost; it will be made again.');
  }
  if (state === 'closed') {
    // Whoever did not want to go finds what was said, and what was not sent, on coming back.
    if (cause === 'abandoned') forgetAll();
    allRooms = new Map();
    roomsAnswer = '';
    view(false);
    if (reason) complain(reason, 'connection');
    $('nick').focus();
  }
  draw('tree', 'badges', 'talk', 'people', 'params', 'mine');
});

function forgetAll() {
  for (const one of [...conversations.values()]) close(one);
  nowhere.drafts = {};
  for (const id of FIELDS) $(id).value = '';
  owner = null;
}

client.on('joined', ({ room, nick, self }) => {
  const where = conversation('room', room);
  if (self) {
    line(where, 'event', 'You joined.');
    askFewRooms();
    draw('tree', 'talk', 'params');
  } else {
    line(where, 'event', nameOf(nick), ' joined.');
  }
  draw('badges', 'people');
});

client.on('left', ({ room, nick, self }) => {
  const where = conversations.get(keyOf('room', room));
  if (!self) {
    if (where) line(where, 'event', nameOf(nick), ' left.');
    draw('badges', 'people');
    return;
  }
  if (where && leaving.has(room)) close(where);
  else if (where) line(where, 'notice', 'You are no longer in this room.');
  askFewRooms();
  draw('tree', 'badges', 'talk', 'people');
});

/** What a plugin says has no sender. */
function hearServer(where, text) {
  const parts = ['The server: ', make('bdi', { className: 'text' }, text)];
  if (where) line(where, 'event', ...parts);
  else notice(...parts);
}

client.on('message', ({ room, from, text }) => {
  const where = client.rooms.has(room) ? conversation('room', room) : null;
  if (from === null) hearServer(where, text);
  // What one client says to another may name a room that only the first is in.
  else if (!where) hear(conversation('private', from), from, text);
  else if (!isBack(where, from, text)) hear(where, from, text);
});

client.on('private', ({ from, text }) => {
  const where = from === null ? null : conversation('private', from);
  if (from === null) hearServer(null, text);
  else if (!isBack(where, from, text)) hear(where, from, text);
});

client.on('broadcast', ({ from, text }) => {
  for (const one of conversations.values()) hear(one, `${from} to all`, text, 'all');
  if (conversations.size === 0) complain(`${shown(from)} to all: ${text}`);
});

client.on('custom', ({ room, from, xml }) => {
  const where = room !== null && client.rooms.has(room) ? conversation('room', room)
    : from !== null ? conversation('private', from) : current;
  const cut = xml.length > CUSTOM_CHARACTERS_MAX ? `${xml.slice(0, CUSTOM_CHARACTERS_MAX)}…` : xml;
  const sender = from === null ? 'The server' : nameOf(from);
  if (where) line(where, 'event', sender, ' sent ', make('code', { dir: 'ltr' }, cut));
});

client.on('room', ({ room, changed, isAll }) => {
  const value = changed.get('title');
  if (!isAll && value !== undefined) {
    const parts = value ? ['The title is now: ', make('bdi', {}, value)]
      : ['The title is now empty.'];
    line(conversation('room', room), 'event', ...parts);
  }
  draw('tree', 'talk', 'people', 'params');
});

client.on('childrooms', ({ room, children }) => {
  const names = new Set(children.map(({ name }) => name));
  for (const [name, { parent }] of allRooms) {
    if (parent === room && !names.has(name)) allRooms.delete(name);
  }
  for (const child of children) allRooms.set(child.name, child);
  draw('tree');
});

client.on('rooms', ({ rooms }) => {
  allRooms = new Map(rooms.map((room) => [room.name, room]));
  roomsAnswer = 'listed';
  draw('tree', 'talk', 'params');
});

client.on('clients', () => draw('badges', 'people'));
client.on('clientparam', () => draw('people'));
client.on('info', ({ text }) => notice(make('bdi', {}, text)));

client.on('error', ({ text, announced, login }) => {
  // What was not delivered says so itself.
  if (!announced) complain(text, login ? 'connection' : '');
});

view(false);
$('nick').focus();
})();
