/*
 * A client of palabre's protocol over WebSocket: one stanza a text frame, both ways.
 *
 * It knows stanzas, rooms and connections, and nothing of a page. A global class `Palabre`, or
 * what `require` gives; requests that fail throw a `Palabre.Error`. The promises of requests are settled in the order of the requests: the
 * server answers each session in order, but its answers carry no number.
 */
(() => {
'use strict';

/** A request that the server refused, or that the end of the connection left without an answer. */
class PalabreError extends Error {
  constructor(message) {
    super(message);
    this.name = 'PalabreError';
  }
}

const NICK_TAKEN = 'Nickname empty or already taken';
const KICKED = 'You have been kicked from the server';
/** It comes unasked, when the server begins to read a fast client more slowly. */
const TOO_FAST = 'Too many stanzas';

/** Close codes after which nobody comes back: a normal end, and a refusal or a kick. */
const CLOSED_FOR_GOOD = [1000, 1008];

/** Close codes that the server sends behind an <error> that says why. */
const CODES_WITH_REASON = [1001, 1008, 1009];

/** A connection that held for so long counts as a success; the next wait is a short one again. */
const HELD_MS = 10000;

class Palabre {
  static Error = PalabreError;

  #listeners = new Map();
  #socket = null;
  #decoder = null;
  #unfinished = '';
  #url = '';
  #credentials = { nick: '', password: '', rootpass: '' };
  #delays;
  #attempts = 0;
  #timer = null;
  #onlineSince = 0;
  #leaving = false;
  #kicked = false;
  #lastError = '';
  #refusalEcho = null;
  #requests = [];
  #unanswered = false;
  #wanted = new Map();
  #params = new Map();
  #connecting = null;

  /**
   * @param {object} [options]
   * @param {number} [options.firstDelay] the longest first wait before a reconnect, in ms
   * @param {number} [options.longestDelay] the longest wait of all, in ms
   */
  constructor({ firstDelay = 500, longestDelay = 30000 } = {}) {
    this.#delays = { first: firstDelay, longest: longestDelay };
    /** 'closed', 'connecting', 'open' (not logged in), 'online' or 'waiting' (to reconnect). */
    this.state = 'closed';
    /** The nick under which the server knows this client, or null. */
    this.nick = null;
    /**
     * The rooms that this client is in, by name: { name, parent, params, clients, children,
     * operator }. `params` is a Map, `clients` a Map of nicks to Maps of their params, `children`
     * a list as in getrooms(). `operator` tells whether this client created the room and has
     * stayed in it; who else may be an operator the protocol does not tell.
     */
    this.rooms = new Map();
    if (typeof addEventListener === 'function') {
      addEventListener('online', () => this.reconnect());
    }
  }

  // Events

  /** Calls `listener` with the details of every event of this type; gives a function that ends it. */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set());
    this.#listeners.get(type).add(listener);
    return () => this.off(type, listener);
  }

  off(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  #emit(type, detail = {}) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      // One listener's mistake is not to keep the others, or the next stanza, from being heard.
      try { listener(detail); } catch (error) { setTimeout(() => { throw error; }); }
    }
  }

  // The connection

  /**
   * Connects and logs in; from then on the connection is made again whenever it is lost, with the
   * same nick, own params and rooms. The promise is kept once the server has accepted the nick. If
   * it refuses, the promise is broken and the connection stays open: try login().
   */
  connect(url, nick, { password = '', rootpass = '' } = {}) {
    this.#connecting?.reject(new PalabreError('another connection was asked for'));
    this.#abandon('another connection was asked for');
    this.#url = url;
    this.#credentials = { nick, password, rootpass };
    this.#wanted.clear();
    this.#params.clear();
    this.#leaving = false;
    this.#attempts = 0;
    const promise = new Promise((resolve, reject) => { this.#connecting = { resolve, reject }; });
    this.#open();
    return promise;
  }

  /** Logs in on an open connection, after a refusal. */
  login(nick, { password = '', rootpass = '' } = {}) {
    this.#credentials = { nick, password, rootpass };
    const stanza = Palabre.stanza('connect', {
      nickname: nick, password: password || null, rootpass: rootpass || null,
    });
    return this.#request(stanza, (element) => {
      if (element.nodeName !== 'connect') return undefined;
      if (element.getAttribute('isok') === '1') return nick;
      // The same reason follows as an <error>, for clients of the old server.
      this.#refusalEcho = element.getAttribute('msg');
      throw new PalabreError(this.#refusalEcho);
    });
  }

  /** Connects at once instead of waiting. */
  reconnect() {
    if (this.state !== 'waiting') return;
    clearTimeout(this.#timer);
    this.#open();
  }

  /** Says good-bye and stays away. */
  quit() {
    this.#leaving = true;
    if (this.#isOpen()) {
      this.#write('<quit />');
      // The server closes after its last word; one that is gone would not.
      const socket = this.#socket;
      this.#timer = setTimeout(() => socket.close(1000), 2000);
    } else {
      this.#connecting?.reject(new PalabreError('the client has quit'));
      this.#connecting = null;
      this.#abandon('the client has quit');
      this.#change('closed', { code: 1000, reason: '' });
    }
  }

  /**
   * Sends one stanza as it is.
   * @throws {PalabreError} when there is no open connection
   */
  send(xml) {
    this.#write(xml);
    this.#unanswered = true;
  }

  #open() {
    this.#change('connecting');
    this.#decoder = new TextDecoder();
    this.#unfinished = '';
    this.#kicked = false;
    this.#lastError = '';
    this.#refusalEcho = null;
    this.#unanswered = false;
    const socket = new WebSocket(this.#url);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const ours = (handler) => (event) => { if (this.#socket === socket) handler(event); };
    socket.onopen = ours(() => this.#opened());
    socket.onmessage = ours((event) => this.#received(event.data));
    socket.onclose = ours((event) => this.#closed(event.code));
  }

  #isOpen() {
    return this.#socket !== null && this.#socket.readyState === 1;
  }

  async #opened() {
    this.#change('open');
    const socket = this.#socket;
    const first = this.#connecting;
    this.#connecting = null;
    try {
      const { nick, password, rootpass } = this.#credentials;
      // Sent before the answer to the login has come, since the server reads in order.
      const login = this.login(nick, { password, rootpass });
      first?.resolve(login);
      await login;
    } catch (error) {
      if (first || this.#socket !== socket) return;
      this.#emit('error', { text: error.message });
      // The session that was lost may still be there for the server; somebody else's password
      // or a ban will not go away.
      if (error.message === NICK_TAKEN) {
        this.#abandon(error.message);
        this.#wait(error.message);
      } else {
        this.#abandon(error.message);
        this.#change('closed', { code: 1000, reason: error.message });
      }
    }
  }

  #closed(code) {
    const reason = CODES_WITH_REASON.includes(code) || this.#kicked ? this.#lastError : '';
    const stay = this.#leaving || this.#kicked || CLOSED_FOR_GOOD.includes(code);
    const connecting = this.#connecting;
    this.#connecting = null;
    this.#abandon(reason || 'the connection was closed');
    if (stay) {
      connecting?.reject(new PalabreError(reason || 'the connection was closed'));
      if (this.#kicked) this.#emit('kicked', { reason });
      this.#change('closed', { code, reason });
    } else {
      this.#connecting = connecting;
      this.#wait(reason);
    }
  }

  /** Drops the connection and all that depends on it. */
  #abandon(reason) {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(1000);
    if (this.#onlineSince && Date.now() - this.#onlineSince > HELD_MS) this.#attempts = 0;
    this.#onlineSince = 0;
    this.nick = null;
    this.rooms.clear();
    for (const request of this.#requests.splice(0)) request.reject(new PalabreError(reason));
  }

  /** Waits longer each time, and never as long as everybody else who lost the same server. */
  #wait(reason) {
    const { first, longest } = this.#delays;
    const most = Math.min(longest, first * 2 ** this.#attempts);
    const delay = Math.round(most * (0.5 + Math.random() / 2));
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#change('waiting', { delay, attempt: this.#attempts, reason });
  }

  #change(state, detail = {}) {
    this.state = state;
    this.#emit('state', { state, ...detail });
  }

  #write(xml) {
    if (!this.#isOpen()) throw new PalabreError('not connected');
    this.#socket.send(xml);
    this.#emit('stanza', { direction: 'out', xml });
  }

  // Requests

  /**
   * Sends a stanza and waits for its answer: `accept` gets every stanza that comes and gives
   * undefined until it has seen what it waits for.
   */
  #request(xml, accept, details = {}) {
    return new Promise((resolve, reject) => {
      // A stanza that is answered only when it is refused may still be refused: a ping tells its
      // error from one of this request.
      if (this.#unanswered && this.state === 'online') this.#fence();
      this.#write(xml);
      this.#requests.push({ accept, resolve, reject, ...details });
    });
  }

  #fence() {
    this.#write('<ping />');
    this.#unanswered = false;
    const accept = (element) => (element.nodeName === 'pong' ? null : undefined);
    this.#requests.push({ accept, resolve() {}, reject() {}, fence: true });
  }

  /** Enters a room, which is created if need be. Gives the room, as in `rooms`. */
  join(room) {
    return this.#enter(Palabre.stanza('join', { room }), room);
  }

  /** Enters the room `child`, which is created if need be, and lists it under the room `parent`. */
  addchild(parent, child) {
    const xml = Palabre.stanza('addchild', { parentroom: parent, childroom: child });
    return this.#enter(xml, child);
  }

  #enter(xml, room) {
    let joined = false;
    const entered = () => (joined ? this.rooms.get(room) : undefined);
    // The list of clients is the last of what a joiner gets.
    return this.#request(xml, (element) => {
      const names = (attribute) => element.getAttribute(attribute) === room;
      if (element.nodeName === 'joined' && names('room')) joined = true;
      return element.nodeName === 'clients' && names('room') ? entered() : undefined;
    }, { despiteError: entered });
  }

  /** Leaves a room; without a connection, it is not entered again. */
  async leave(room) {
    if (this.state !== 'online' && this.#wanted.delete(room)) return null;
    return this.#request(Palabre.stanza('leave', { room }), (element) => (
      element.nodeName === 'leaved' && element.getAttribute('room') === room ? null : undefined
    ));
  }

  /** All rooms: a list of { name, clients, parent, params }. */
  getrooms() {
    return this.#request('<getrooms />', (element) => (
      element.nodeName === 'rooms' ? childElements(element, 'room').map(roomOf) : undefined
    ));
  }

  /** Gives the time between question and answer, in ms. */
  ping() {
    const asked = performance.now();
    return this.#request('<ping />', (element) => (
      element.nodeName === 'pong' ? performance.now() - asked : undefined
    ));
  }

  /** All about a room, for root: { name, params, clients, childrooms, infos }. */
  getinfo(room) {
    return this.#request(Palabre.stanza('getinfo', { room }), (element) => (
      element.nodeName === 'roominfo' && element.getAttribute('name') === room
        ? infoOf(element) : undefined
    ));
  }

  /** The server's own list of the stanzas that this session may send, as text. */
  help() {
    return this.#request('<help />', (element) => (
      element.nodeName === 'help' ? element.textContent.trim() : undefined
    ));
  }

  /** Removes a client from the server, for root. */
  kick(nick) {
    return this.#request(Palabre.stanza('rmuser', { nickName: nick }), (element) => (
      element.nodeName === 'info' ? element.textContent : undefined
    ));
  }

  /** Sets a param of a room, for its operator, or for its members while openParams is 1. */
  setparam(room, name, value) {
    return this.#request(Palabre.stanza('setparam', { room, name, value }), (element) => (
      element.nodeName === 'room' && element.getAttribute('name') === room
        && paramsOf(element).has(name) ? null : undefined
    ));
  }

  /** Removes a param of a room; the same rights. */
  removeparam(room, name) {
    return this.#request(Palabre.stanza('removeparam', { room, name }), (element) => (
      element.nodeName === 'room' && element.getAttribute('name') === room
        && !paramsOf(element).has(name) ? null : undefined
    ));
  }

  /** Sets a param of this client, which all in its rooms see; set again after a reconnect. */
  async clientparam(name, value) {
    const xml = Palabre.stanza('clientparam', { name, value });
    if (this.rooms.size > 0) {
      await this.#request(xml, (element) => (
        element.nodeName === 'clientparam' && element.getAttribute('f') === this.nick
          && element.getAttribute('name') === name ? null : undefined
      ));
    } else {
      // Nobody is told, so there is no answer unless it is refused.
      this.#write(xml);
      await this.ping();
    }
    this.#params.set(name, String(value));
  }

  /** The params of this client, a Map. */
  get params() {
    return new Map(this.#params);
  }

  // Messages

  /** Says something in a room; kept when it has come back, as everybody in the room has it. */
  say(room, text) {
    const xml = Palabre.stanza('m', { toroom: room, back: '1' }, text);
    return this.#request(xml, (element) => (
      element.nodeName === 'm' && element.getAttribute('f') === this.nick
        && element.getAttribute('r') === room ? null : undefined
    ));
  }

  /** Says something to one client. There is no answer; an `error` comes when nobody has the nick. */
  tell(nick, text) {
    this.send(Palabre.stanza('m', { toclient: nick }, text));
  }

  /** Says something to everybody, for root. */
  broadcast(text) {
    this.send(Palabre.stanza('m', { broadcast: '1' }, text));
  }

  // What comes in

  #received(data) {
    if (typeof data === 'string') {
      this.#handle(data);
      return;
    }
    const frames = (this.#unfinished + this.#decoder.decode(data, { stream: true })).split('\0');
    this.#unfinished = frames.pop();
    for (const xml of frames) this.#handle(xml);
  }

  #handle(xml) {
    this.#emit('stanza', { direction: 'in', xml });
    const element = Palabre.parse(xml);
    if (!element) return;
    const name = element.nodeName;
    if (name === 'error') this.#refused(element.textContent);
    else {
      // What a stanza changes is in place when its request is answered and its event heard.
      const event = Object.hasOwn(HANDLERS, name) ? HANDLERS[name](this, element) : null;
      if (name === 'connect' && element.getAttribute('isok') === '1') this.#loggedIn(element);
      this.#noteWanted(name, element);
      this.#answer(element);
      if (event) this.#emit(event.type, event.detail);
      else if (!Object.hasOwn(HANDLERS, name)) this.#emit(...relayed(element, xml));
      if (event?.detail.unsure) this.getrooms().catch(() => {});
    }
  }

  #answer(element) {
    const request = this.#requests[0];
    if (!request) return;
    try {
      const value = request.accept(element);
      if (value === undefined) return;
      this.#requests.shift();
      request.resolve(value);
    } catch (error) {
      this.#requests.shift();
      request.reject(error);
    }
  }

  #refused(text) {
    if (this.#refusalEcho === text) {
      this.#refusalEcho = null;
      return;
    }
    this.#lastError = text;
    if (text.startsWith(KICKED)) this.#kicked = true;
    const request = this.#requests[0];
    if (!request || request.fence || text.startsWith(TOO_FAST)) {
      this.#emit('error', { text });
      return;
    }
    this.#requests.shift();
    const value = request.despiteError?.();
    if (value === undefined) {
      request.reject(new PalabreError(text));
    } else {
      // Inside all the same: the error stands for a list that was too long.
      request.resolve(value);
      this.#emit('error', { text });
    }
  }

  #loggedIn(element) {
    // The server's word, which differs when the login was a stanza of the caller's own.
    const [, nick] = / : (.*)$/s.exec(element.getAttribute('msg')) ?? [];
    this.nick = nick ?? this.#credentials.nick;
    this.#onlineSince = Date.now();
    const back = this.#wanted.size > 0 || this.#params.size > 0;
    this.#change('online', { nick: this.nick, again: back });
    // The answers come in order, so nothing has to be waited for in between.
    const failed = (error) => this.#emit('error', { text: error.message });
    for (const [name, value] of this.#params) this.clientparam(name, value).catch(failed);
    const rejoined = new Set();
    for (const name of [...this.#wanted.keys()]) this.#rejoin(name, rejoined);
  }

  /** Enters a room again, its parent first, so that it is listed there if it has to be made anew. */
  #rejoin(name, rejoined) {
    if (rejoined.has(name)) return;
    rejoined.add(name);
    const parent = this.#wanted.get(name);
    let entering;
    if (parent !== null && this.#wanted.has(parent)) {
      this.#rejoin(parent, rejoined);
      entering = this.addchild(parent, name);
    } else {
      entering = this.join(name);
    }
    const nick = this.nick;
    entering.catch((error) => {
      // The end of the connection is no refusal: the room is entered next time.
      if (this.nick !== nick) return;
      this.#wanted.delete(name);
      this.#emit('error', { text: `${name}: ${error.message}` });
    });
  }

  /** Keeps in mind which rooms to come back to, and in which room each is listed. */
  #noteWanted(name, element) {
    const wanted = this.#wanted;
    const room = element.getAttribute('room');
    if (name === 'joined' && !wanted.has(room)) wanted.set(room, null);
    if (name === 'leaved' || name === 'leave') wanted.delete(leftRoom(element));
    const parent = name === 'childrooms' ? element.getAttribute('name') : null;
    const heads = name === 'room' ? [element] : parent !== null ? childElements(element, 'room') : [];
    for (const { name: child, parent: own } of heads.map(roomOf)) {
      if (wanted.has(child)) wanted.set(child, own ?? parent ?? wanted.get(child));
    }
  }

  // XML

  /** Writes a stanza. Attributes that are null are left out; the text may be left out as well. */
  static stanza(name, attributes, text = null) {
    const written = Object.entries(attributes)
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([key, value]) => ` ${key}="${Palabre.escape(value)}"`)
      .join('');
    return text === null ? `<${name}${written} />`
      : `<${name}${written}>${escapeText(text)}</${name}>`;
  }

  /** Escapes a value of an attribute. What XML can't carry becomes U+FFFD. */
  static escape(value) {
    return escapeText(value)
      .replace(/"/g, '&quot;')
      .replace(/'/g, '&apos;')
      .replace(/\t/g, '&#9;')
      .replace(/\n/g, '&#10;');
  }

  /**
   * Reads a stanza; gives its element, or null when it is not well-formed. The element lies in a
   * document of its own, where nothing runs; who puts it into a page lets others write the page.
   */
  static parse(xml) {
    const parsed = new DOMParser().parseFromString(xml, 'text/xml');
    // Browsers put an element of this name where they gave up; anybody may write one as well.
    const failed = !xml.includes('parsererror')
      && parsed.getElementsByTagName('parsererror').length > 0;
    return failed ? null : parsed.documentElement;
  }
}

// Line feeds and tabs stay as they are in text: an old movie does not know references to them.
function escapeText(text) {
  return String(text)
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/\r/g, '&#13;');
}

function childElements(element, name) {
  return [...element.children].filter((child) => child.nodeName === name);
}

function paramsOf(element) {
  const pairs = childElements(element, 'param');
  return new Map(pairs.map((param) => [param.getAttribute('name'), param.getAttribute('value')]));
}

function roomOf(element) {
  return {
    name: element.getAttribute('name'),
    clients: Number(element.getAttribute('clients')),
    parent: element.getAttribute('parent'),
    params: paramsOf(element),
  };
}

function clientsOf(element) {
  const clients = childElements(element, 'client');
  return new Map(clients.map((client) => [client.getAttribute('name'), paramsOf(client)]));
}

function infoOf(element) {
  const [params] = childElements(element, 'params');
  const [clients] = childElements(element, 'clients');
  const [childrooms] = childElements(element, 'childrooms');
  const [infos] = childElements(element, 'infos');
  const facts = childElements(infos, 'info');
  return {
    name: element.getAttribute('name'),
    params: paramsOf(params),
    clients: clientsOf(clients),
    childrooms: childElements(childrooms, 'room').map(roomOf),
    infos: new Map(facts.map((info) => [info.getAttribute('name'), info.getAttribute('value')])),
  };
}

function leftRoom(element) {
  return element.getAttribute('room') ?? element.getAttribute('r');
}

/** A stanza that is not the server's own: what another client, or a plugin, has sent. */
function relayed(element, xml) {
  const from = element.getAttribute('f');
  const room = element.getAttribute('r');
  const detail = { name: element.nodeName, from, room, text: element.textContent, element, xml };
  if (element.nodeName !== 'm') return ['custom', detail];
  if (room !== null) return ['message', detail];
  // Only the server writes f, and in single quotes only for a broadcast.
  const broadcast = xml.startsWith("<m f='");
  return [broadcast ? 'broadcast' : 'private', detail];
}

/** What the stanzas of the server's own change, and the event each is heard as. */
const HANDLERS = {
  connect: () => null,
  pong: () => null,
  help: () => null,
  info: (client, element) => ({ type: 'info', detail: { text: element.textContent } }),
  roominfo: (client, element) => ({ type: 'roominfo', detail: infoOf(element) }),
  'cross-domain-policy': () => null,

  joined(client, element) {
    const name = element.getAttribute('room');
    const room = {
      name, parent: null, params: new Map(), clients: new Map(), children: [], operator: false,
    };
    client.rooms.set(name, room);
    return { type: 'joined', detail: { room: name, nick: client.nick, self: true } };
  },

  leaved(client, element) {
    const room = leftRoom(element);
    client.rooms.delete(room);
    return { type: 'left', detail: { room, nick: client.nick, self: true } };
  },

  leave: (client, element) => HANDLERS.leaved(client, element),

  client(client, element) {
    const nick = element.getAttribute('name');
    const came = element.hasAttribute('joined');
    const room = element.getAttribute(came ? 'joined' : 'left');
    const clients = client.rooms.get(room)?.clients;
    if (came && clients && !clients.has(nick)) clients.set(nick, new Map());
    if (!came) clients?.delete(nick);
    return { type: came ? 'joined' : 'left', detail: { room, nick, self: false } };
  },

  clients(client, element) {
    const room = element.getAttribute('room');
    const clients = clientsOf(element);
    const known = client.rooms.get(room);
    if (known) known.clients = clients;
    return { type: 'clients', detail: { room, clients } };
  },

  clientparam(client, element) {
    const [name, value, nick, room] = ['name', 'value', 'f', 'r']
      .map((attribute) => element.getAttribute(attribute));
    client.rooms.get(room)?.clients.get(nick)?.set(name, value);
    return { type: 'clientparam', detail: { room, nick, name, value } };
  },

  room(client, element) {
    const head = roomOf(element);
    const known = client.rooms.get(head.name);
    if (!known) return null;
    const entering = known.params.size === 0;
    // A room that is in nobody's list of child rooms and has one member is new. One that was
    // kept for its child rooms lists them, and they have come before.
    if (entering) known.operator = head.clients === 1 && known.children.length === 0;
    known.parent = head.parent;
    // One param is a change of that one, and several are all there are: openParams is always
    // there. Alone and unchanged it may be either.
    const isAll = entering || head.params.size > 1;
    const before = known.params;
    known.params = isAll ? head.params : new Map([...before, ...head.params]);
    const unsure = !isAll && before.size === 2
      && head.params.get('openParams') === before.get('openParams');
    return { type: 'room', detail: { room: head.name, changed: head.params, isAll, unsure } };
  },

  childrooms(client, element) {
    const room = element.getAttribute('name');
    const children = childElements(element, 'room').map(roomOf);
    const known = client.rooms.get(room);
    if (known) known.children = children;
    return { type: 'childrooms', detail: { room, children } };
  },

  rooms(client, element) {
    const rooms = childElements(element, 'room').map(roomOf);
    for (const { name, params } of rooms) {
      const known = client.rooms.get(name);
      if (known && params.size > 0) known.params = params;
    }
    return { type: 'rooms', detail: { rooms } };
  },
};

if (typeof module === 'object' && module.exports) module.exports = Palabre;
else globalThis.Palabre = Palabre;
})();
