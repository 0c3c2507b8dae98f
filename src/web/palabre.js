/*
 * A client of palabre's protocol over WebSocket: one stanza a text frame, both ways.
 *
 * It knows stanzas, rooms and connections, and nothing of a page. A global class `Palabre`, or
 * what `require` gives; requests that fail throw a `Palabre.Error` with a `code`.
 *
 * Answers carry no number, but the server answers each session in order. So behind every request
 * goes a `<ping />`: what comes before its `<pong />` belongs to the request, and the `<pong />`
 * ends it. A request that was given up keeps its place in the queue, so that the answers of those
 * behind it are still told apart.
 */
(() => {
'use strict';

/** A request or a connection that came to nothing; the README has the table of the codes. */
class PalabreError extends Error {
  constructor(message, code) {
    super(message);
    this.name = 'PalabreError';
    this.code = code;
  }
}

const EVENTS = new Set(['state', 'ready', 'message', 'private', 'broadcast', 'custom', 'joined',
  'left', 'clients', 'room', 'childrooms', 'rooms', 'clientparam', 'roominfo', 'info', 'kicked',
  'error', 'stanza']);

/** What can be the `code` of an error. */
const CODES = ['refused', 'unavailable', 'timeout', 'closed', 'kicked', 'unreachable', 'bad_address',
  'not_connected', 'too_long', 'unanswered', 'abandoned', 'bad_use'];

const NICK_TAKEN = 'Nickname empty or already taken';
const KICKED = 'You have been kicked from the server';
const PING = '<ping />';
/** What the server could not do right now: it is asked again, whoever asked. */
const UNAVAILABLE = /^(Login not possible right now|Too many sessions)/;
/** What ends a connection and passes: who was let in before comes back. */
const PASSING = /^(Too many |Login timed out)/;
/** It comes unasked, when the server begins to read a fast client more slowly. */
const TOO_FAST = /^Too (many|much) .* per second\)$/;
/** It may come unasked, in the place of a list that somebody else has made too long. */
const LIST_TOO_LARGE = /^(?!Stanza).* too large \(limit /;
const STANZA_TOO_LARGE = /^Stanza too large \(limit (\d+) bytes\)$/;

/** Close codes that mean "try again". */
const CODES_TO_TRY_AGAIN = [1001, 1012, 1013, 1014];

/** Close codes that the server sends behind an <error> that says why. */
const CODES_WITH_REASON = [1001, 1008, 1009];

/** A connection that held for so long counts as a success; the next wait is a short one again. */
const HELD_MS = 10000;
/** So often credentials that were right before may be refused in a row. A few times may be a
 * server that is being repaired; more would use up what its address may fail. */
const REFUSALS_MAX = 4;
/** After a sign that the network or the user is back, an answer is expected within this time. */
const WOKEN_TIMEOUT_MS = 5000;
/** A timer this late has slept with the computer: what has come meanwhile is not yet handled. */
const SLEPT_MS = 2000;
/** Nobody looks: the check of a quiet line has time. */
const HIDDEN_FACTOR = 4;
/** The list of all rooms is asked for to learn of one param at most so often. */
const UNSURE_EVERY_MS = 10000;
const HAS_QUIT = { code: 'abandoned', message: 'the client has quit' };
/** The farewell of a server that has gone is not waited for. */
const FAREWELL_MS = 2000;

class Palabre {
  static Error = PalabreError;
  static CODES = CODES;

  #options;
  #stanzaBytes;
  #listeners = new Map();
  #woken = (event) => this.#wake(event);
  #listening = false;

  // The connection
  #attempt = 0;
  #socket = null;
  #decoder = null;
  #unfinished = '';
  #timer = null;
  #onlineSince = 0;
  #lastError = '';
  #refusalEcho = null;

  // What outlives it
  #url = '';
  #credentials = null;
  #connecting = null;
  #goesOn = false;
  #accepted = false;
  #attempts = 0;
  #refusals = 0;
  #leaving = false;
  #wanted = new Map();
  #params = new Map();

  // Requests and answers
  #queue = [];
  #unfenced = false;
  #unsureTimer = null;
  #unsureAt = -Infinity;

  // The heartbeat
  #pulse = null;
  #pulseAt = 0;
  #heardAt = 0;
  #heardSincePing = true;
  #slept = false;

  /**
   * @param {object} [options] times in ms; 0 lifts a time-out, the heartbeat or the length
   * @param {number} [options.firstDelay] the longest first wait before a reconnect
   * @param {number} [options.longestDelay] the longest wait of all
   * @param {boolean} [options.reconnect] whether a lost connection is made again
   * @param {number} [options.requestTimeout] how long the answer to a request is waited for
   * @param {number} [options.connectTimeout] the same of a connection
   * @param {number} [options.loginTimeout] the same of a login: passwords may wait for their turn
   * @param {number} [options.heartbeat] after so long a silence the server is sent a ping
   * @param {number} [options.heartbeatTimeout] how long its answer is waited for
   * @param {number} [options.stanzaBytes] the longest stanza that is sent; the server's stanzabytes
   * @throws {PalabreError} when one is no number
   */
  constructor(options = {}) {
    const { stanzaBytes, ...others } = settingsOf(options);
    this.#options = others;
    this.#stanzaBytes = stanzaBytes;
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
  }

  /** The longest stanza that is sent, in bytes; less when the server said that it takes less. */
  get stanzaBytes() {
    return this.#stanzaBytes;
  }

  /** @throws {PalabreError} when it is no number */
  set stanzaBytes(bytes) {
    this.#stanzaBytes = numberOf('stanzaBytes', bytes);
  }

  // Events

  /**
   * Calls `listener` with the details of every event of this type; gives a function that ends it.
   * @throws {PalabreError} when there is no such event, or nothing to call
   */
  on(type, listener) {
    if (!EVENTS.has(type)) {
      const known = [...EVENTS].join(' ');
      throw new PalabreError(`no event is called ${textOf(type)}; there are ${known}`, 'bad_use');
    }
    if (typeof listener !== 'function') throw new PalabreError('a listener is a function', 'bad_use');
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
   * Connects and logs in; once the server has accepted the nick, the promise is kept, and the
   * connection is made again whenever it is lost, with the same nick, own params and rooms.
   *
   * If no connection comes about, the promise is broken and nothing goes on, unless `retry` says
   * so: then it is tried until it succeeds. If the server refuses the nick, the promise is broken
   * and the connection stays open: try login(). If the server can't say right now, it is asked
   * again; the promise is broken after `loginTimeout`, the asking goes on until quit().
   */
  connect(url, nick, options = {}) {
    return promised(() => {
      const address = textOf(url);
      const { retry, ...credentials } = credentialsOf(nick, options);
      return this.#connect(address, credentials, retry);
    });
  }

  #connect(url, credentials, retry) {
    this.#giveUp(new PalabreError('another connection was asked for', 'abandoned'));
    this.#url = url;
    this.#credentials = credentials;
    this.#goesOn = retry;
    this.#accepted = false;
    this.#leaving = false;
    this.#attempts = 0;
    this.#refusals = 0;
    this.#wanted.clear();
    this.#params.clear();
    return new Promise((resolve, reject) => {
      this.#connecting = { resolve, reject, timer: null, bounded: !retry };
      this.#listen(true);
      this.#open();
    });
  }

  /** Logs in on an open connection, after a refusal; otherwise as connect(). */
  login(nick, options = {}) {
    return promised(() => this.#login(credentialsOf(nick, options)));
  }

  #login({ nick, password, rootpass }) {
    if (this.state !== 'open' || this.#connecting) {
      const why = this.nick === null ? 'not connected' : 'already logged in';
      const error = this.#connecting ? new PalabreError('a login is on its way', 'bad_use')
        : new PalabreError(why, 'not_connected');
      return Promise.reject(error);
    }
    return new Promise((resolve, reject) => {
      this.#connecting = { resolve, reject, timer: null, bounded: true };
      this.#credentials = { nick, password, rootpass };
      this.#logIn();
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
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#end(HAS_QUIT, 1000), FAREWELL_MS);
    } else if (this.state !== 'closed') {
      this.#end(HAS_QUIT, 1000);
    }
  }

  /** The same at once, and nothing is heard of this client any more. */
  dispose() {
    this.#leaving = true;
    if (this.#isOpen()) this.#write('<quit />');
    if (this.state !== 'closed') this.#end(HAS_QUIT, 1000);
    this.#listeners.clear();
  }

  /**
   * Sends one stanza as it is. What becomes of it only the server knows: if it is refused, there
   * is an `error` event.
   * @throws {PalabreError} when there is no open connection, or it is too long
   */
  send(xml) {
    const stanza = textOf(xml);
    if (stanza.includes('\0')) throw new PalabreError('a stanza holds no NUL', 'bad_use');
    if (!this.#isOpen()) throw new PalabreError('not connected', 'not_connected');
    this.#measure(stanza);
    // Its pong would be taken for that of a request.
    const isPing = stanza.includes('<ping') && Palabre.parse(stanza)?.nodeName === 'ping';
    if (isPing && this.state !== 'online') throw new PalabreError('not logged in', 'not_connected');
    if (isPing) {
      this.#fence();
    } else {
      this.#write(stanza);
      this.#unfenced = true;
    }
  }

  #open() {
    this.#attempt += 1;
    const attempt = this.#attempt;
    this.#decoder = new TextDecoder();
    this.#unfinished = '';
    this.#lastError = '';
    this.#refusalEcho = null;
    this.#unfenced = false;
    this.#change('connecting');
    // A listener may have had enough.
    if (this.#attempt !== attempt) return;
    let socket;
    try {
      socket = new WebSocket(this.#url);
    } catch (error) {
      this.#goesOn = false;
      const message = `not an address for a WebSocket: ${this.#url} (${error.message})`;
      this.#end({ code: 'bad_address', message, told: true }, 1006);
      return;
    }
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    const ours = (handler) => (event) => { if (this.#attempt === attempt) handler(event); };
    socket.onopen = ours(() => this.#opened());
    socket.onmessage = ours((event) => this.#received(event.data));
    socket.onclose = ours((event) => this.#closed(event.code));
    const { connectTimeout } = this.#options;
    this.#timer = after(connectTimeout, () => {
      const message = `no connection to ${this.#url} within ${connectTimeout / 1000} s`;
      this.#end({ code: 'timeout', message, told: true }, 1006);
    });
  }

  #isOpen() {
    return this.#socket !== null && this.#socket.readyState === 1;
  }

  #opened() {
    clearTimeout(this.#timer);
    const attempt = this.#attempt;
    this.#change('open');
    if (this.#attempt === attempt) this.#logIn();
  }

  #logIn() {
    const { nick, password, rootpass } = this.#credentials;
    const stanza = Palabre.stanza('connect', {
      nickname: nick, password, rootpass,
    });
    const attempt = this.#attempt;
    const accept = (element) => (
      element.nodeName === 'connect' ? [element.getAttribute('isok') === '1', true] : undefined
    );
    // Before the login no ping is answered, so this one has its answer alone to end it.
    const timeout = this.#options.loginTimeout;
    this.#request(stanza, accept, { fenced: false, timeout })
      .catch((error) => { if (this.#attempt === attempt) this.#notLoggedIn(error); });
  }

  /** A login that was refused, or had no answer in time. */
  #notLoggedIn(error) {
    const connecting = this.#connecting;
    const attempt = this.#attempt;
    if (error.code === 'too_long' || error.code === 'refused' && connecting) {
      // It is the user's turn. Nobody goes on with what was refused.
      this.#connecting = null;
      this.#goesOn = false;
      this.#credentials = null;
      clearTimeout(connecting?.timer);
      connecting?.reject(error);
      return;
    }
    if (error.code === 'refused') {
      this.#emit('error', { text: error.message, code: error.code, login: true });
      if (this.#attempt !== attempt) return;
      // The session that was lost may still be there for the server, and its accounts may be under
      // repair; a password that was changed, or a ban, will not go away.
      const passes = error.message === NICK_TAKEN || PASSING.test(error.message);
      if (!passes) this.#refusals += 1;
      if (!this.#accepted || this.#refusals > REFUSALS_MAX) this.#goesOn = false;
    }
    const { code, message } = error;
    this.#end({ code, message, told: true }, code === 'refused' ? 1000 : 1006);
  }

  /** The connection has ended by itself. */
  #closed(closeCode) {
    const words = CODES_WITH_REASON.includes(closeCode) ? this.#lastError : '';
    const message = words || 'the connection was closed';
    const refused = closeCode === 1008 && words ? 'refused' : 'closed';
    const isKick = closeCode === 1008 && this.#onlineSince > 0;
    if (this.#leaving) {
      this.#end(HAS_QUIT, closeCode);
    } else if (this.state === 'connecting') {
      const why = `can't connect to ${this.#url}: nobody answers there as this server does, or no `
        + 'page from here is let in';
      this.#end({ code: 'unreachable', message: why, told: true }, closeCode);
    } else if (CODES_TO_TRY_AGAIN.includes(closeCode) || UNAVAILABLE.test(words)) {
      this.#end({ code: 'unavailable', message, told: words }, closeCode);
    } else if (closeCode === 1000 || closeCode === 1008 && words && !PASSING.test(words)) {
      this.#goesOn = false;
      this.#end({ code: isKick ? 'kicked' : refused, message, told: words }, closeCode);
    } else {
      this.#end({ code: refused, message, told: words }, closeCode);
    }
  }

  /**
   * A connection, or the attempt at one, is over. Whoever waits for something is told why, and it
   * is decided whether to come back. `told` says whether the message is a reason to be shown.
   */
  #end({ code, message, told = false }, closeCode) {
    const error = new PalabreError(message, code);
    const reason = told ? message : '';
    const connecting = this.#connecting;
    this.#drop(error);
    if (code === 'unavailable' && (connecting || this.#accepted)) this.#goesOn = true;
    if (this.#goesOn && !this.#leaving && this.#options.reconnect) {
      if (connecting?.bounded) {
        connecting.error = error;
        connecting.timer ??= after(this.#options.loginTimeout, () => {
          connecting.reject(connecting.error);
          if (this.#connecting === connecting) this.#connecting = null;
        });
      }
      this.#wait(reason, code);
      return;
    }
    this.#giveUp(error);
    const attempt = this.#attempt;
    if (code === 'kicked') this.#emit('kicked', { reason });
    // A listener may have begun anew.
    if (this.#attempt === attempt) this.#change('closed', { code: closeCode, reason, cause: code });
  }

  /** Gives up the connection for good, without a word to the listeners. */
  #giveUp(error) {
    const connecting = this.#connecting;
    this.#connecting = null;
    this.#goesOn = false;
    this.#credentials = null;
    this.#drop(error);
    this.#listen(false);
    clearTimeout(connecting?.timer);
    connecting?.reject(error);
  }

  /** Drops the connection and all that depends on it. */
  #drop(error) {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#pulse);
    clearTimeout(this.#unsureTimer);
    this.#unsureTimer = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket && socket.readyState < 2) socket.close(1000);
    if (this.#onlineSince && Date.now() - this.#onlineSince > HELD_MS) this.#attempts = 0;
    this.#onlineSince = 0;
    this.nick = null;
    this.rooms.clear();
    for (const request of this.#queue.splice(0)) this.#settle(request, error);
  }

  /** Waits longer each time, and never as long as everybody else who lost the same server. */
  #wait(reason, cause) {
    const { firstDelay, longestDelay } = this.#options;
    // What was refused is repeated more slowly than what was not heard.
    const refused = cause === 'refused' && this.#refusals > 0;
    const slow = refused ? 4 * firstDelay * 2 ** (this.#refusals - 1) : 0;
    const most = Math.min(longestDelay, Math.max(firstDelay * 2 ** this.#attempts, slow));
    const delay = Math.round(most * (0.5 + Math.random() / 2));
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#change('waiting', { delay, attempt: this.#attempts, reason, cause });
  }

  #change(state, detail = {}) {
    this.state = state;
    this.#emit('state', { state, ...detail });
  }

  #write(...stanzas) {
    for (const xml of stanzas) this.#socket.send(xml);
    // A listener may send something itself: behind, not in between.
    for (const xml of stanzas) this.#emit('stanza', { direction: 'out', xml });
  }

  #measure(xml) {
    const max = this.#stanzaBytes;
    if (!(max > 0) || xml.length * 3 <= max) return;
    const bytes = Palabre.bytes(xml);
    if (bytes > max) {
      throw new PalabreError(`too long: a stanza of ${bytes} bytes (limit ${max})`, 'too_long');
    }
  }

  // The heartbeat: a line that says nothing is asked, and one that does not answer is lost.

  /** Listens for what tells that the network or the user is back, while there is a connection. */
  #listen(wanted) {
    if (this.#listening === wanted || typeof addEventListener !== 'function') return;
    this.#listening = wanted;
    const change = (target, type) => (wanted ? target.addEventListener(type, this.#woken)
      : target.removeEventListener(type, this.#woken));
    for (const type of ['online', 'offline', 'pageshow']) change(globalThis, type);
    if (globalThis.document) change(document, 'visibilitychange');
  }

  #wake({ type }) {
    if (globalThis.document?.hidden && type === 'visibilitychange') return;
    if (this.state === 'waiting' && type !== 'offline') this.reconnect();
    if (this.state === 'online' && this.#options.heartbeatTimeout > 0) {
      this.#ask(Math.min(WOKEN_TIMEOUT_MS, this.#options.heartbeatTimeout));
    }
  }

  #beatIn(delay) {
    clearTimeout(this.#pulse);
    this.#pulseAt = Date.now() + delay;
    this.#pulse = setTimeout(() => this.#beat(), delay);
  }

  /** Goes on listening; how long a silence may be depends on whether somebody looks. */
  #beatLater() {
    const { heartbeat, heartbeatTimeout } = this.#options;
    if (!(heartbeat > 0 && heartbeatTimeout > 0)) return;
    const silence = heartbeat * (globalThis.document?.hidden ? HIDDEN_FACTOR : 1);
    const heardFor = Math.min(silence, Math.max(0, Date.now() - this.#heardAt));
    if (heardFor < silence) this.#beatIn(silence - heardFor);
    else this.#ask(heartbeatTimeout);
  }

  /** Sends a ping, unless one is on its way, and expects to hear something. */
  #ask(timeout) {
    if (!this.#queue.some(({ fenced }) => fenced)) this.#fence();
    this.#heardSincePing = false;
    this.#beatIn(timeout);
  }

  #beat() {
    if (this.state !== 'online') return;
    if (this.#heardSincePing) {
      this.#slept = false;
      this.#beatLater();
    } else if (Date.now() - this.#pulseAt > SLEPT_MS && !this.#slept) {
      this.#slept = true;
      this.#ask(Math.min(WOKEN_TIMEOUT_MS, this.#options.heartbeatTimeout));
    } else {
      this.#end({ code: 'timeout', message: 'the server does not answer', told: true }, 1006);
    }
  }

  // Requests

  /**
   * Sends a stanza, none if it is null, with a ping behind it. `accept` gets every stanza up to the
   * pong; for the answer it gives the value and whether it is certain: an answer that could be
   * another's as well is overruled by an <error>. Without an `accept`, no error is the answer.
   */
  #request(xml, accept, options = {}) {
    const { fenced = true, timeout = this.#options.requestTimeout, lists = false } = options;
    return new Promise((resolve, reject) => {
      if (!this.#isOpen() || (fenced && this.state !== 'online')) {
        throw new PalabreError(this.#isOpen() ? 'not logged in' : 'not connected', 'not_connected');
      }
      if (xml !== null) this.#measure(xml);
      // A stanza that is answered only when it is refused may still be refused: a ping tells its
      // error from one of this request.
      if (fenced && this.#unfenced) this.#fence();
      const request = { accept, fenced, lists, errors: [], answer: undefined, resolve, reject };
      request.timer = after(timeout, () => {
        request.resolve = request.reject = () => {};
        request.over = true;
        reject(new PalabreError(`no answer within ${timeout / 1000} s`, 'timeout'));
      });
      this.#queue.push(request);
      this.#write(...(xml === null ? [] : [xml]), ...(fenced ? [PING] : []));
    });
  }

  /** A ping behind which whatever came before is done with. */
  #fence() {
    this.#unfenced = false;
    this.#queue.push({ fenced: true, over: true, errors: [], resolve() {}, reject() {} });
    this.#write(PING);
  }

  /** Ends a request by what came for it; `lost` is the error of a connection that ended first. */
  #settle(request, lost = null) {
    clearTimeout(request.timer);
    const { errors, answer, accept, lists } = request;
    // The last words of a connection are about all of it, or about a stanza that is too long.
    const isLast = (text) => lost && text === this.#lastError && !STANZA_TOO_LARGE.test(text);
    const isOwn = (text) => !request.over && !isLast(text) && (lists || !LIST_TOO_LARGE.test(text));
    const refusal = answer?.[1] ? undefined : errors.find(isOwn);
    if (refusal !== undefined) {
      request.reject(new PalabreError(refusal, codeOf(refusal)));
    } else if (answer) {
      request.resolve(answer[0]);
    } else if (lost) {
      request.reject(lost);
    } else if (accept) {
      request.reject(new PalabreError('the server gave no answer', 'unanswered'));
    } else {
      request.resolve(null);
    }
    // Whatever was refused besides is told as well.
    const used = errors.indexOf(refusal);
    const others = errors.filter((text, index) => index !== used && !isLast(text));
    for (const text of others) {
      const tell = () => this.#emit('error', { text, code: codeOf(text) });
      // The end of a connection is finished first.
      if (lost) queueMicrotask(tell);
      else tell();
    }
  }

  /** What is refused of a request that may be left without looking at it is an event as well. */
  #announced(request) {
    request.catch(({ message, code }) => {
      this.#emit('error', { text: message, code, announced: true });
    });
    return request;
  }

  /** Enters a room, which is created if need be. Gives the room, as in `rooms`. */
  join(room) {
    return promised(() => {
      const name = roomName(room);
      return this.#enter(Palabre.stanza('join', { room: name }), name);
    });
  }

  /** Enters the room `child`, which is created if need be, and lists it under the room `parent`. */
  addchild(parent, child) {
    return promised(() => {
      const names = { parentroom: roomName(parent), childroom: roomName(child) };
      return this.#enter(Palabre.stanza('addchild', names), names.childroom);
    });
  }

  #enter(xml, room) {
    return this.#request(xml, (element) => {
      if (element.nodeName !== 'joined') return undefined;
      const name = element.getAttribute('room');
      return [this.rooms.get(name), sameRoom(name, room)];
    });
  }

  /** Leaves a room; without a connection, it is not entered again. */
  async leave(room) {
    const left = roomName(room);
    const wanted = [...this.#wanted.keys()].find((name) => sameRoom(name, left));
    if (this.state !== 'online' && this.#wanted.delete(wanted)) return null;
    return this.#request(Palabre.stanza('leave', { room: left }), (element) => (
      ['leaved', 'leave'].includes(element.nodeName)
        ? [null, sameRoom(leftRoom(element), left)] : undefined
    ));
  }

  /** All rooms: a list of { name, clients, parent, params }. */
  getrooms() {
    const accept = (element) => (
      element.nodeName === 'rooms' ? [childElements(element, 'room').map(roomOf), true] : undefined
    );
    return this.#request('<getrooms />', accept, { lists: true });
  }

  /** Gives the time between question and answer, in ms. */
  ping() {
    const asked = performance.now();
    return this.#request(null, null).then(() => performance.now() - asked);
  }

  /** All about a room, for root: { name, params, clients, childrooms, infos }. */
  getinfo(room) {
    return promised(() => {
      const name = roomName(room);
      const accept = (element) => (element.nodeName === 'roominfo'
        ? [infoOf(element), sameRoom(element.getAttribute('name'), name)] : undefined);
      return this.#request(Palabre.stanza('getinfo', { room: name }), accept, { lists: true });
    });
  }

  /** The server's own list of the stanzas that this session may send, as text. */
  help() {
    const accept = (element) => (
      element.nodeName === 'help' ? [element.textContent.trim(), true] : undefined
    );
    return this.#request('<help />', accept, { fenced: this.state === 'online' });
  }

  /** Removes a client from the server, for root. */
  kick(nick) {
    const accept = (element) => (
      element.nodeName === 'info' ? [element.textContent, false] : undefined
    );
    return promised(() => this.#request(Palabre.stanza('rmuser', { nickName: nick }), accept));
  }

  /** Sets a param of a room, for its operator, or for its members while openParams is 1. */
  setparam(room, name, value) {
    return promised(() => (
      this.#request(Palabre.stanza('setparam', { room: roomName(room), name, value }))
    ));
  }

  /** Removes a param of a room; the same rights. */
  removeparam(room, name) {
    return promised(() => (
      this.#request(Palabre.stanza('removeparam', { room: roomName(room), name }))
    ));
  }

  /**
   * Sets a param of this client, which all in its rooms see; set again after a reconnect. Without
   * a value, the rooms are told the one that it has.
   */
  async clientparam(name, value) {
    const [key, text] = [name, value].map(given);
    await this.#request(Palabre.stanza('clientparam', { name: key, value: text }));
    if (text !== null) this.#params.set(key ?? '', text);
    return null;
  }

  /** The params of this client, a Map. */
  get params() {
    return new Map(this.#params);
  }

  // Messages

  /** Says something in a room; kept when it has come back, as everybody in the room has it. */
  say(room, text) {
    return promised(() => {
      const name = roomName(room);
      const xml = Palabre.stanza('m', { toroom: name, back: '1' }, text ?? '');
      return this.#request(xml, (element) => {
        const back = element.getAttribute('r');
        const isOwn = element.nodeName === 'm' && element.getAttribute('f') === this.nick;
        return isOwn && back !== null ? [null, sameRoom(back, name)] : undefined;
      });
    });
  }

  /**
   * Says something to one client; kept when the server has delivered it. That it was refused is an
   * `error` event as well, for those who don't look at the promise.
   */
  tell(nick, text) {
    return this.#announced(promised(() => (
      this.#request(Palabre.stanza('m', { toclient: nick }, text ?? ''))
    )));
  }

  /** Says something to everybody, for root; as tell(). */
  broadcast(text) {
    return this.#announced(promised(() => (
      this.#request(Palabre.stanza('m', { broadcast: '1' }, text ?? ''))
    )));
  }

  // What comes in

  #received(data) {
    this.#heardAt = Date.now();
    this.#heardSincePing = true;
    const attempt = this.#attempt;
    let frames = [data];
    if (typeof data !== 'string') {
      frames = (this.#unfinished + this.#decoder.decode(data, { stream: true })).split('\0');
      this.#unfinished = frames.pop();
    }
    for (const xml of frames) if (this.#attempt === attempt) this.#handle(xml);
  }

  #handle(xml) {
    const attempt = this.#attempt;
    this.#emit('stanza', { direction: 'in', xml });
    const element = Palabre.parse(xml);
    // A listener may have ended the connection.
    if (!element || this.#attempt !== attempt) return;
    const name = element.nodeName;
    // What another client has sent has an f, whatever it is called.
    const own = Object.hasOwn(HANDLERS, name)
      && (!element.hasAttribute('f') || name === 'clientparam');
    if (own && name === 'error') {
      this.#refused(element.textContent);
      return;
    }
    this.#lastError = '';
    const echo = this.#refusalEcho;
    this.#refusalEcho = null;
    if (!own) {
      this.#answer(element);
      this.#emit(...relayed(element, xml));
      return;
    }
    if (name === 'pong') {
      this.#refusalEcho = echo;
      this.#ponged();
      return;
    }
    // What a stanza changes is in place when its request is answered and its event heard.
    const event = HANDLERS[name](this, element);
    if (name === 'connect') {
      this.#loginAnswered(element);
      return;
    }
    this.#noteWanted(name, element);
    this.#answer(element);
    if (event) this.#emit(event.type, event.detail);
    if (event?.detail.unsure) this.#askUnsure();
  }

  /** Shows the request at the head of the queue what has come. */
  #answer(element) {
    const [request] = this.#queue;
    if (!request?.accept || request.answer?.[1]) return;
    request.answer = request.accept(element) ?? request.answer;
    if (request.answer && !request.fenced) this.#settle(this.#queue.shift());
  }

  #ponged() {
    while (this.#queue.length > 0) {
      const request = this.#queue.shift();
      this.#settle(request);
      if (request.fenced) return;
    }
  }

  #refused(text) {
    const echo = this.#refusalEcho;
    this.#refusalEcho = null;
    if (echo === text) return;
    this.#lastError = text;
    const [, limit] = STANZA_TOO_LARGE.exec(text) ?? [];
    if (limit !== undefined) {
      this.#stanzaBytes = Math.min(this.#stanzaBytes || Infinity, Number(limit));
    }
    const [request] = this.#queue;
    if (!request || TOO_FAST.test(text)) {
      this.#emit('error', { text, code: 'refused' });
      return;
    }
    request.errors.push(text);
    if (!request.fenced) this.#settle(this.#queue.shift());
  }

  #loginAnswered(element) {
    const granted = element.getAttribute('isok') === '1';
    const [request] = this.#queue;
    const isOurs = request && !request.fenced;
    if (granted) {
      this.#loggedIn(element);
      if (isOurs) this.#answer(element);
      return;
    }
    const reason = element.getAttribute('msg') ?? '';
    if (isOurs) this.#refused(reason);
    else this.#emit('error', { text: reason, code: 'refused', login: true });
    // The same reason follows as an <error>, for clients of the old server.
    this.#refusalEcho = reason;
    this.#lastError = reason;
  }

  #loggedIn(element) {
    const attempt = this.#attempt;
    // The server's word, which differs when the login was a stanza of the caller's own.
    const [, nick] = / : (.*)$/s.exec(element.getAttribute('msg')) ?? [];
    const again = this.#accepted;
    this.nick = nick ?? String(this.#credentials?.nick);
    this.#credentials ??= { nick: this.nick };
    this.#accepted = true;
    this.#goesOn = true;
    this.#refusals = 0;
    this.#onlineSince = Date.now();
    const connecting = this.#connecting;
    this.#connecting = null;
    clearTimeout(connecting?.timer);
    connecting?.resolve(this.nick);
    this.#change('online', { nick: this.nick, again });
    if (this.#attempt !== attempt) return;
    this.#beatLater();
    this.#comeBack(again);
  }

  /** Enters the rooms again and sets the params; then all is as it was. */
  async #comeBack(again) {
    const attempt = this.#attempt;
    // The answers come in order, so nothing has to be waited for in between.
    const failed = ({ message, code }) => this.#emit('error', { text: message, code });
    const set = ([name, value]) => this.clientparam(name, value).catch(failed);
    const work = [...this.#params].map(set);
    const entering = new Map();
    for (const name of [...this.#wanted.keys()]) this.#rejoin(name, entering);
    await Promise.all([...work, ...entering.values()]);
    if (this.#attempt !== attempt) return;
    const lost = [...entering.keys()].filter((name) => !this.rooms.has(name));
    this.#emit('ready', { nick: this.nick, again, lost });
  }

  /** Enters a room again, its parent first, to be listed there if it has to be made anew. */
  #rejoin(name, entering) {
    if (entering.has(name)) return;
    entering.set(name, null);
    const parent = this.#wanted.get(name);
    const listed = parent !== null && this.#wanted.has(parent);
    if (listed) this.#rejoin(parent, entering);
    const first = listed ? this.addchild(parent, name) : this.join(name);
    const attempt = this.#attempt;
    entering.set(name, first
      // The parent may have let nobody in.
      .catch((error) => {
        if (listed && error.code === 'refused') return this.join(name);
        throw error;
      })
      .catch((error) => {
        // The end of the connection is no refusal, nor is a late answer: it is entered next time.
        if (this.#attempt !== attempt) return;
        if (error.code === 'refused') this.#wanted.delete(name);
        this.#emit('error', { text: `${name}: ${error.message}`, code: error.code, room: name });
      }));
  }

  /**
   * Asks for the list of all rooms, which has what the server did not say clearly. It may be long,
   * and whoever has the right to change a param could have everybody ask all the time.
   */
  #askUnsure() {
    if (this.#unsureTimer !== null) return;
    const ask = () => {
      this.#unsureTimer = null;
      this.#unsureAt = Date.now();
      this.getrooms().catch(() => {});
    };
    const wait = this.#unsureAt + UNSURE_EVERY_MS - Date.now();
    if (wait > 0) this.#unsureTimer = setTimeout(ask, Math.min(wait, UNSURE_EVERY_MS));
    else ask();
  }

  /** Keeps in mind which rooms to come back to, and in which room each is listed. */
  #noteWanted(name, element) {
    const wanted = this.#wanted;
    const room = element.getAttribute('room');
    if (name === 'joined' && !wanted.has(room)) wanted.set(room, null);
    if (name === 'leaved' || name === 'leave') wanted.delete(leftRoom(element));
    const parent = name === 'childrooms' ? element.getAttribute('name') : null;
    const inside = parent === null ? [] : childElements(element, 'room');
    const heads = name === 'room' ? [element] : inside;
    for (const { name: child, parent: own } of heads.map(roomOf)) {
      if (wanted.has(child)) wanted.set(child, own ?? parent ?? wanted.get(child));
    }
  }

  // XML

  /**
   * Writes a stanza. Attributes that are null are left out; the text may be left out as well.
   * @throws {PalabreError} when a value can't be read as text
   */
  static stanza(name, attributes, text = null) {
    const tag = textOf(name);
    const written = read('the attributes', () => Object.entries(attributes))
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([key, value]) => ` ${key}="${Palabre.escape(value)}"`)
      .join('');
    return text === null ? `<${tag}${written} />`
      : `<${tag}${written}>${escapeText(text)}</${tag}>`;
  }

  /**
   * A value as it arrives: text, and U+FFFD for what XML can't carry.
   * @throws {PalabreError} when it can't be read as text
   */
  static text(value) {
    return textOf(value)
      .toWellFormed()
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');
  }

  /** The length of a stanza on the wire, in bytes. */
  static bytes(xml) {
    return new TextEncoder().encode(textOf(xml)).length;
  }

  /** Escapes a value of an attribute. */
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
    const stanza = textOf(xml);
    const parsed = new DOMParser().parseFromString(stanza, 'text/xml');
    // Browsers put an element of this name where they gave up; anybody may write one as well.
    const failed = !stanza.includes('parsererror')
      && parsed.getElementsByTagName('parsererror').length > 0;
    return failed ? null : parsed.documentElement;
  }
}

/** What is wrong with a call breaks the promise that it gives, as whatever else fails does. */
function promised(act) {
  try {
    return act();
  } catch (error) {
    return Promise.reject(error);
  }
}

/** What the caller's own values do when they are read is the caller's mistake. */
function read(what, act) {
  try {
    return act();
  } catch {
    throw new PalabreError(`${what} can't be read`, 'bad_use');
  }
}

function textOf(value) {
  return read('a value that should be text', () => String(value));
}

/** A value as it arrives, or null if there is none. */
function given(value) {
  return value === null || value === undefined ? null : Palabre.text(value);
}

/** Those options that are known by these names. */
function optionsOf(options, names) {
  if (options === null || typeof options !== 'object') {
    throw new PalabreError('options stand in an object', 'bad_use');
  }
  return read('an option', () => Object.fromEntries(names.map((name) => [name, options[name]])));
}

/** What a client is to be, with what goes without saying. */
function settingsOf(options) {
  const settings = {
    firstDelay: 500, longestDelay: 30000, reconnect: true, requestTimeout: 10000,
    connectTimeout: 10000, loginTimeout: 30000, heartbeat: 15000, heartbeatTimeout: 10000,
    stanzaBytes: 65536,
  };
  for (const [name, value] of Object.entries(optionsOf(options, Object.keys(settings)))) {
    if (value === undefined) continue;
    settings[name] = name === 'reconnect' ? Boolean(value) : numberOf(name, value);
  }
  return settings;
}

function numberOf(name, value) {
  // Number() makes 0 of null, of nothing and of an empty list.
  const told = typeof value === 'number' || (typeof value === 'string' && value.trim() !== '');
  const number = told ? Number(value) : NaN;
  if (!(number >= 0)) throw new PalabreError(`${name} is no number from 0 on`, 'bad_use');
  return number;
}

/** Who logs in, and whether it is tried until it succeeds. An empty password is none. */
function credentialsOf(nick, options) {
  const { password, rootpass, retry } = optionsOf(options, ['password', 'rootpass', 'retry']);
  return {
    nick: given(nick), password: secretOf(password), rootpass: secretOf(rootpass),
    retry: Boolean(retry),
  };
}

/** A password as it is; another one in its place would be a guess. */
function secretOf(value) {
  const secret = value === null || value === undefined ? '' : textOf(value);
  if (/[\p{Cc}\p{Cs}\ufffe\uffff]/u.test(secret)) {
    throw new PalabreError('a password holds no control characters', 'bad_use');
  }
  return secret || null;
}

function codeOf(refusal) {
  if (UNAVAILABLE.test(refusal)) return 'unavailable';
  return STANZA_TOO_LARGE.test(refusal) ? 'too_long' : 'refused';
}

/** A timer, unless there is to be none. */
function after(delay, act) {
  return delay > 0 && delay < 2 ** 31 ? setTimeout(act, delay) : null;
}

/** The name of a room as the server keeps it, in the one form that looks so (NFC). */
function roomName(room) {
  return room === null || room === undefined ? null : Palabre.text(room).normalize('NFC');
}

function sameRoom(name, room) {
  return roomName(name) === roomName(room);
}

// Line feeds and tabs stay as they are in text: an old movie does not know references to them.
function escapeText(text) {
  return Palabre.text(text)
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/\r/g, '&#13;');
}

function childElements(element, name) {
  const found = [];
  for (let child = element?.firstElementChild; child; child = child.nextElementSibling) {
    if (child.nodeName === name) found.push(child);
  }
  return found;
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

/**
 * A stanza that is not the server's own: what another client, or a plugin, has sent. `from` is
 * null when it says no sender: then it is a plugin's.
 */
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
  error: () => null,
  connect: () => null,
  pong: () => null,
  help: () => null,
  info: (client, element) => ({ type: 'info', detail: { text: element.textContent } }),
  roominfo: (client, element) => ({ type: 'roominfo', detail: infoOf(element) }),
  'cross-domain-policy': () => null,

  joined(client, element) {
    const name = element.getAttribute('room');
    if (name === null) return null;
    const room = {
      name, parent: null, params: new Map(), clients: new Map(), children: [], operator: false,
    };
    client.rooms.set(name, room);
    return { type: 'joined', detail: { room: name, nick: client.nick, self: true } };
  },

  leaved(client, element) {
    const room = leftRoom(element);
    if (!client.rooms.delete(room)) return null;
    return { type: 'left', detail: { room, nick: client.nick, self: true } };
  },

  leave: (client, element) => HANDLERS.leaved(client, element),

  client(client, element) {
    const nick = element.getAttribute('name');
    const came = element.hasAttribute('joined');
    const room = element.getAttribute(came ? 'joined' : 'left');
    const clients = client.rooms.get(room)?.clients;
    if (!clients || nick === null) return null;
    if (came && !clients.has(nick)) clients.set(nick, new Map());
    if (!came) clients.delete(nick);
    return { type: came ? 'joined' : 'left', detail: { room, nick, self: false } };
  },

  clients(client, element) {
    const room = element.getAttribute('room');
    const clients = clientsOf(element);
    const known = client.rooms.get(room);
    if (!known) return null;
    known.clients = clients;
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
    if (!known) return null;
    known.children = children;
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
