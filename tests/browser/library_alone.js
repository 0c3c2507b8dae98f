// What the library promises whatever a server and a network do, as the body of an asynchronous
// function in the chat page: its sockets, its clock and the signs that somebody looks are made here.
// It gives the number of things that were checked and throws at the first that is not so.
return (async () => {
  let checked = 0;
  const written = (value) => JSON.stringify(value, (key, inner) => (
    inner instanceof Map ? Object.fromEntries(inner) : inner));
  const equal = (got, wanted, what) => {
    checked += 1;
    if (written(got) !== written(wanted)) {
      throw new Error(`${what}: got ${written(got)}, not ${written(wanted)}`);
    }
  };

  // The clock: timers run when the time is moved on, in their order.
  const real = { setTimeout, clearTimeout, now: Date.now, WebSocket };
  let now = 1e12;
  let timers = [];
  let timerCount = 0;
  globalThis.setTimeout = (act, delay = 0) => {
    timerCount += 1;
    timers.push({ id: timerCount, at: now + delay, act });
    return timerCount;
  };
  globalThis.clearTimeout = (id) => { timers = timers.filter((timer) => timer.id !== id); };
  Date.now = () => now;
  const channel = new MessageChannel();
  const settled = () => new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
  const pass = async (ms) => {
    const end = now + ms;
    await settled();
    for (;;) {
      const [next] = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.id - b.id);
      if (!next) break;
      timers = timers.filter((timer) => timer !== next);
      now = Math.max(now, next.at);
      next.act();
      await settled();
    }
    now = end;
  };
  // Goes from timer to timer until a client is in a state.
  const until = async (client, ...states) => {
    for (let tries = 0; !states.includes(client.state); tries += 1) {
      if (tries > 1000 || timers.length === 0) throw new Error(`it stays ${client.state}, not ${states}`);
      await pass(Math.max(0, Math.min(...timers.map(({ at }) => at)) - now));
    }
  };

  // The sockets: what is sent is kept, what comes is said by hand.
  let sockets = [];
  globalThis.WebSocket = class {
    constructor(address) {
      if (new URL(address).protocol !== 'ws:') throw new SyntaxError('no address of a WebSocket');
      Object.assign(this, { address, readyState: 0, sent: [], read: 0 });
      sockets.push(this);
    }

    send(xml) { this.sent.push(xml); }

    // The other side may be gone: no event follows.
    close() { this.readyState = 2; }

    opens() { this.readyState = 1; this.onopen({}); }

    says(...stanzas) { for (const data of stanzas) this.onmessage({ data }); }

    ends(code) { this.readyState = 3; this.onclose({ code }); }

    // What was sent since this was asked last.
    get news() {
      const news = this.sent.slice(this.read);
      this.read = this.sent.length;
      return news;
    }
  };
  const last = () => sockets.at(-1);

  const URL_ = 'ws://there.example/';
  const granted = (nick) => `<connect isok='1' msg='Your nickname is now : ${nick}'/>`;
  const refusal = (text) => [`<connect isok='0' msg='${text}'/>`, `<error>${text}</error>`];
  const outcome = (promise) => promise.then((value) => ['granted', value], (error) => {
    if (!Palabre.CODES.includes(error.code)) throw new Error(`no code of an error: ${error.code} ${error}`);
    return [error.code, error.message];
  });
  const code = async (promise) => (await outcome(promise))[0];
  const heard = (client, type) => {
    const events = [];
    client.on(type, (event) => events.push(event));
    return events;
  };
  const clients = [];
  const make = (options = {}) => {
    const client = new Palabre({ heartbeat: 0, ...options });
    clients.push(client);
    return client;
  };
  const online = async (options = {}, nick = 'Ann') => {
    const client = make(options);
    const login = client.connect(URL_, nick);
    last().opens();
    last().says(granted(nick));
    equal(await login, nick, 'the login');
    equal(last().news.length, 1, 'one stanza logs in');
    return [client, last()];
  };
  const pong = '<pong />';
  const roomStanzas = (name, nick = 'Ann') => [
    `<joined room='${name}' />`, `<childrooms name='${name}'>\n</childrooms>`,
    `<room name='${name}' clients='1' >\n <param name='title' value='' />\n <param name='openParams' value='0' />\n</room>`,
    `<clients room='${name}' nb='1'>\n  <client name='${nick}' />\n</clients>`,
  ];

  // Where a server relays whatever it is given, nobody's stanza is taken for one of the server's own.
  {
    const [client, socket] = await online();
    const [customs, errors] = [heard(client, 'custom'), heard(client, 'error')];
    socket.says('<x:error xmlns:x="urn:x" f="Bob">You have been kicked from the server</x:error>');
    equal([customs.map(({ name, from }) => [name, from]), errors], [[['x:error', 'Bob']], []],
      'a forged error');
  }

  // Connecting fails in words.
  {
    for (const address of ['http//', '', 'mailto:a@b', 'ws://[/', null]) {
      const client = make();
      equal(await code(client.connect(address, 'Ann')), 'bad_address', `the address ${address}`);
      equal(client.state, 'closed', 'a bad address is nothing to go on with');
    }
    const client = make();
    const states = heard(client, 'state');
    const first = outcome(client.connect(URL_, 'Ann'));
    last().ends(1006);
    const [why, message] = await first;
    equal([why, message.includes(URL_)], ['unreachable', true], 'a dead port, a refused origin');
    equal(states.map(({ state, cause }) => [state, cause]), [['connecting', undefined], ['closed', 'unreachable']],
      'it ends there');
    const silent = outcome(client.connect(URL_, 'Ann'));
    await pass(10000);
    equal((await silent)[0], 'timeout', 'nobody opens');
    equal([client.state, last().readyState], ['closed', 2], 'what did not open is given up');
    const mute = outcome(client.connect(URL_, 'Ann'));
    last().opens();
    await pass(29999);
    equal(client.state, 'open', 'a login may have to wait');
    await pass(1);
    equal([(await mute)[0], client.state], ['timeout', 'closed'], 'a login without an answer');
    const cut = outcome(client.connect(URL_, 'Ann'));
    last().opens();
    last().ends(1006);
    equal([(await cut)[0], client.state], ['closed', 'closed'], 'an end in the login');
    const taken = outcome(client.connect(URL_, 'Ann'));
    last().opens();
    last().says(...refusal('Nickname empty or already taken'));
    equal([(await taken), client.state], [['refused', 'Nickname empty or already taken'], 'open'], 'a refusal');
    last().ends(1008);
    equal(client.state, 'closed', 'who was never let in does not come back');
    const one = outcome(client.connect(URL_, 'Ann'));
    const two = outcome(client.connect(URL_, 'Bob'));
    equal((await one)[0], 'abandoned', 'another connection instead');
    client.quit();
    equal([(await two)[0], client.state], ['abandoned', 'closed'], 'quit while connecting');
    equal(timers.length, 0, 'nothing is waited for any more');
    const on = make();
    const persistent = on.connect(URL_, 'Ann', { retry: true });
    last().ends(1006);
    equal(on.state, 'waiting', 'retry goes on from the start');
    await pass(1000);
    last().opens();
    last().says(granted('Ann'));
    equal([await persistent, on.state], ['Ann', 'online'], 'and keeps the promise');
  }

  // A server that can't say right now is asked again; a promise ends all the same.
  {
    const busy = 'Login not possible right now, please try again';
    const client = make();
    const waits = heard(client, 'state');
    const login = outcome(client.connect(URL_, 'Ann', { password: 'secret' }));
    last().opens();
    last().says(...refusal(busy));
    await settled();
    equal([client.state, waits.at(-1).reason, waits.at(-1).cause], ['waiting', busy, 'unavailable'], 'busy');
    await pass(500);
    last().opens();
    equal(last().news, ['<connect nickname="Ann" password="secret" />'], 'the same once more');
    last().says(granted('Ann'));
    equal(await login, ['granted', 'Ann'], 'a wait is no refusal');
    for (const end of [1001, 1012, 1013, 1014]) {
      last().ends(end);
      equal([client.state, waits.at(-1).cause], ['waiting', 'unavailable'], `close ${end}`);
      client.reconnect();
      last().opens();
      last().says(granted('Ann'));
    }
    const late = outcome(client.connect(URL_, 'Bob'));
    for (let tries = 0; tries < 9; tries += 1) {
      last().opens();
      last().says(...refusal(busy));
      await settled();
      await until(client, 'connecting');
    }
    equal([(await late), client.state], [['unavailable', busy], 'connecting'], 'the promise ends, the asking does not');
    last().opens();
    last().says(granted('Bob'));
    equal([client.state, client.nick], ['online', 'Bob'], 'and comes to its end');
    const wrong = outcome(client.connect(URL_, 'Eve', { password: 'guess' }));
    last().opens();
    last().says(...refusal(busy));
    await pass(500);
    last().opens();
    last().says(...refusal('Authentication Error'));
    equal([(await wrong)[0], client.state], ['refused', 'open'], 'a guess is not repeated');
    const full = outcome(client.connect(URL_, 'Eve'));
    last().opens();
    last().says('<error>Too many sessions (limit 1)</error>');
    last().ends(1008);
    await settled();
    equal(client.state, 'waiting', 'a server that is full');
    client.quit();
    equal((await full)[0], 'abandoned', 'is waited for until one has enough');
    const again = outcome(client.connect(URL_, 'Eve'));
    last().opens();
    last().says('<error>Too many failed logins (limit 20 per minute)</error>');
    last().ends(1008);
    equal([(await again)[0], client.state], ['refused', 'closed'], 'who guesses is no friend');
  }

  // What was right before may be refused a few times.
  {
    const [client] = await online();
    const errors = heard(client, 'error');
    const delays = [];
    client.on('state', ({ delay }) => { if (delay) delays.push(delay); });
    const begun = now;
    last().ends(1006);
    let tries = 0;
    while (client.state !== 'closed') {
      await until(client, 'connecting');
      tries += 1;
      last().opens();
      last().says(...refusal('Authentication Error'));
      await settled();
    }
    equal([tries, errors.length, errors[0].text], [5, 5, 'Authentication Error'], 'five times');
    equal(now - begun > 10000, true, 'in more than a few seconds');
    equal(delays.every((delay, index) => index < 2 || delay * 2.1 > delays[index - 1]), true, `growing ${delays}`);
    const [other] = await online();
    last().ends(1006);
    for (let round = 0; round < 30; round += 1) {
      await until(other, 'connecting');
      last().opens();
      last().says(...refusal(round % 2 ? 'Nickname empty or already taken' : 'Login not possible right now, please try again'));
      await settled();
    }
    equal(other.state, 'waiting', 'what passes is waited for for ever');
    await until(other, 'connecting');
    last().opens();
    last().says(granted('Ann'));
    for (const [end, words, state] of [
      [1008, '', 'waiting'], [1006, '', 'waiting'], [1009, 'Stanza too large (limit 65536 bytes)', 'waiting'],
      [1008, 'Too many failed logins (limit 20 per minute)', 'waiting'], [1008, 'Login timed out (limit 300 s)', 'waiting'],
      [1008, 'You are banned until tomorrow', 'closed'], [1008, 'You have been kicked from the server by an administrator', 'closed'],
      [1008, 'Out with you', 'closed'], [1000, '', 'closed'],
    ]) {
      const [one, socket] = await online();
      const kicks = heard(one, 'kicked');
      if (words) socket.says(`<error>${words}</error>`);
      socket.ends(end);
      await settled();
      equal([one.state, kicks.length], [state, Number(state === 'closed' && end === 1008)], `close ${end} ${words}`);
      one.dispose();
    }
    // An old error is not the reason of a later end.
    const [third, socket] = await online();
    const ends = heard(third, 'state');
    socket.says('<error>No room by that name</error>', '<info>x</info>');
    socket.ends(1008);
    equal(ends.at(-1).reason, '', 'no reason was given');
    const never = make({ reconnect: false });
    never.connect(URL_, 'Ann');
    last().opens();
    last().says(granted('Ann'));
    last().ends(1006);
    equal(never.state, 'closed', 'without reconnecting');
    for (const one of clients) one.dispose();
    equal(timers.length, 0, 'no timer is left');
  }

  // A request always ends, and those behind it are told apart.
  {
    const [client, socket] = await online();
    const errors = heard(client, 'error');
    const first = outcome(client.join('a'));
    const second = outcome(client.getrooms());
    equal(socket.news, ['<join room="a" />', '<ping />', '<getrooms />', '<ping />'], 'a ping behind each');
    await pass(10000);
    equal([(await first)[0], (await second)[0]], ['timeout', 'timeout'], 'no answer');
    const third = outcome(client.leave('b'));
    const fourth = outcome(client.setparam('b', 'x', 1));
    socket.says('<error>late</error>', pong, "<rooms nb='0'>\n</rooms>", pong, '<error>Not a known room</error>', pong, pong);
    equal([await third, await fourth], [['refused', 'Not a known room'], ['granted', null]], 'answers behind late ones');
    equal(errors.map(({ text }) => text), ['late'], 'a late refusal is an event');
    const odd = outcome(client.join('c'));
    socket.says(pong);
    equal((await odd)[0], 'unanswered', 'a pong without an answer');
    // Whatever the server makes of a name, it is the answer.
    const names = [
      [42, '42'], [true, 'true'], ['a\u0000b\u001f', 'a\ufffdb\ufffd'], ['\ud800x', '\ufffdx'],
      ['a\tb\nc\rd', 'a\tb\nc\rd'], ['e\u0301', '\u00e9'], [{ toString: () => 'o' }, 'o'], ['trimmed ', 'trimmed'],
    ];
    socket.news;
    for (const [asked, known] of names) {
      const room = client.join(asked);
      const behind = client.ping();
      socket.says(...roomStanzas(Palabre.escape(known)), pong, pong);
      equal([(await room).name, client.rooms.has(known), typeof await behind], [known, true, 'number'], `the room ${written(known)}`);
      const left = outcome(client.leave(asked));
      socket.says(`<leaved room='${Palabre.escape(known)}' />`, pong);
      equal(await left, ['granted', null], `leaving ${written(known)}`);
    }
    equal(socket.news.filter((xml) => xml.includes('\u0301')).length, 0, 'one form of a name is sent');
    const nothing = outcome(client.join(null));
    equal(socket.news[0], '<join />', 'nothing');
    socket.says('<error>No room specified</error>', pong);
    equal(await nothing, ['refused', 'No room specified'], 'nothing is no room');
    // Lists that somebody else has made too long, and being read more slowly, refuse nothing.
    errors.length = 0;
    const inside = client.join('tea');
    socket.says("<joined room='tea' />", '<error>Answer too large (limit 262144 bytes)</error>', roomStanzas('tea')[2],
      '<error>Answer too large (limit 262144 bytes)</error>', '<error>Too many stanzas (limit 200 per second)</error>', pong);
    equal([(await inside).name, (await inside).params.size, errors.length], ['tea', 2, 3], 'inside without lists');
    const said = outcome(client.say('tea', 'x'));
    socket.says('<error>Answer too large (limit 1 bytes)</error>', '<m f="Ann" r="tea">x</m>', pong);
    equal(await said, ['granted', null], 'said all the same');
    const rooms = outcome(client.getrooms());
    socket.says('<error>Answer too large (limit 1 bytes)</error>', pong);
    equal((await rooms)[0], 'refused', 'the list that was asked for');
    // Somebody else's change is no answer.
    const set = outcome(client.setparam('tea', 'title', 'mine'));
    const next = outcome(client.removeparam('tea', 'title'));
    socket.says("<room name='tea' clients='2' >\n <param name='title' value='yours' />\n</room>",
      '<error>You must be an operator of this room</error>', pong, pong);
    equal([(await set)[0], (await next)[0]], ['refused', 'granted'], 'an error overrules what another did');
    // A refusal of a stanza of one's own is not taken for the next request's.
    errors.length = 0;
    client.send('<odd />');
    const behind = outcome(client.getrooms());
    equal(socket.news.slice(-4), ['<odd />', '<ping />', '<getrooms />', '<ping />'], 'a ping before');
    socket.says('<error>Not a known node</error>', pong, "<rooms nb='0'>\n</rooms>", pong);
    equal([(await behind)[0], errors[0].text], ['granted', 'Not a known node'], 'told apart');
    // Nor is the pong of a ping of one's own.
    socket.news;
    client.send('<ping x="1"></ping>');
    const after = outcome(client.join('late'));
    for (const xml of socket.news) {
      socket.says(...(xml.startsWith('<ping') ? [pong] : roomStanzas('late')));
    }
    equal((await after)[0], 'granted', 'behind a ping of one\'s own');
    // What could be another's answer is overruled by an error.
    for (const [ask, ...said] of [
      [() => client.kick('Bob'), '<info>of a plugin</info>'],
      [() => client.join('x'), "<joined room='y' />"],
      [() => client.leave('x'), "<leaved room='late' />"],
      [() => client.say('x', 'y'), '<m f="Ann" r="tea">y</m>'],
    ]) {
      const asked = outcome(ask());
      socket.says(...said, '<error>No</error>', pong);
      equal(await asked, ['refused', 'No'], `overruled: ${said}`);
    }
    for (const text of ['Answer too large (limit 1 bytes)', 'Too many stanzas (limit 200 per second)']) {
      const asked = outcome(client.setparam('tea', 'x', 'y'));
      socket.says(`<error>${text}</error>`, pong);
      equal(await asked, ['granted', null], `no refusal: ${text}`);
    }
    socket.says(...roomStanzas('late'));
    // A listener that asks while it is told.
    const end = client.on('stanza', ({ direction, xml }) => {
      if (direction !== 'out' || !xml.startsWith('<leave')) return;
      end();
      client.getinfo('late').catch(() => {});
    });
    socket.news;
    client.leave('late').catch(() => {});
    equal(socket.news, ['<leave room="late" />', '<ping />', '<getinfo room="late" />', '<ping />'], 'behind, not between');
    socket.says('<leaved room=\'late\' />', pong, '<error>You must be root</error>', pong);
    // What has come before the end counts; what has not is closed.
    const [won, refused, lost] = [client.say('tea', 'y'), client.join('full'), client.ping()].map(outcome);
    socket.says('<m f="Ann" r="tea">y</m>');
    socket.ends(1006);
    equal([(await won)[0], (await refused)[0], (await lost)[0]], ['granted', 'closed', 'closed'], 'the end');
    equal(await outcome(client.say('tea', 'z')), ['not_connected', 'not connected'], 'without a connection');
    client.quit();
    const [kicked, its] = await online();
    const asked = outcome(kicked.getrooms());
    its.says('<error>You have been kicked from the server by an administrator</error>');
    its.ends(1008);
    equal((await asked)[0], 'kicked', 'a kick is the answer to all that was asked');
  }

  // What is said to one client is confirmed, or refused aloud.
  {
    const [client, socket] = await online();
    const errors = heard(client, 'error');
    const one = outcome(client.tell('Bob', 'x'));
    socket.says(pong);
    equal([await one, errors.length], [['granted', null], 0], 'it was handled');
    client.tell('Bob', 'x');
    socket.says('<error>No user connected with nickname: Bob</error>', pong);
    await settled();
    equal([errors.length, errors[0].text, errors[0].code, errors[0].announced],
      [1, 'No user connected with nickname: Bob', 'refused', true], 'a refusal is heard without looking');
    equal(await code(client.tell('Bob', 'x'.repeat(70000))), 'too_long', 'over the limit');
    client.quit();
    await settled();
    socket.ends(1000);
    equal(await code(client.tell('Bob', 'x')), 'not_connected', 'without a connection');
    await settled();
    equal(errors.map((error) => error.code).slice(1), ['too_long', 'not_connected'], 'told as well');
  }

  // The length is in bytes, of the whole stanza.
  {
    const [client, socket] = await online();
    const frame = Palabre.bytes('<m toroom="tea" back="1"></m>');
    const asked = client.say('tea', '\u20ac'.repeat((65536 - frame) / 3 | 0));
    asked.catch(() => {});
    equal(socket.news.length, 2, 'as long as may be');
    equal(await code(client.say('tea', `${'\u20ac'.repeat((65536 - frame) / 3 | 0)}abc`)), 'too_long', 'one over');
    equal(await code(client.say('tea', '<'.repeat(20000))), 'too_long', 'written');
    equal(socket.news.length, 0, 'nothing was sent');
    let thrown = null;
    try { client.send(`<m>${'x'.repeat(65536)}</m>`); } catch (error) { thrown = error.code; }
    equal(thrown, 'too_long', 'a stanza of one\'s own');
    try { client.send('<a/>\0<b/>'); } catch (error) { thrown = error.code; }
    equal(thrown, 'bad_use', 'two stanzas in one');
    client.stanzaBytes = 0;
    client.say('tea', 'x'.repeat(70000)).catch(() => {});
    equal(socket.news.length, 2, 'without a limit');
    socket.says(pong, '<error>Stanza too large (limit 1000 bytes)</error>');
    socket.ends(1009);
    equal([client.stanzaBytes, client.state], [1000, 'waiting'], 'the server\'s own limit is learned');
    client.dispose();
  }

  // What others send is never taken for the server's word, and a plugin's needs no sender.
  {
    const [client, socket] = await online();
    const events = ['custom', 'message', 'private', 'broadcast', 'error', 'joined', 'left'].flatMap((type) => {
      const kept = [];
      client.on(type, ({ from, room, text }) => kept.push([type, from, room, text]));
      return [kept];
    });
    const news = () => events.flatMap((kept) => kept.splice(0));
    for (const name of ['error', 'connect', 'joined', 'leaved', 'client', 'clients', 'room', 'rooms', 'childrooms', 'roominfo', 'info', 'pong', 'help']) {
      socket.says(`<${name} isok='0' msg='x' room='forged' name='forged' f="Eve">x</${name}>`);
      equal(news(), [['custom', 'Eve', null, 'x']], `a forged ${name}`);
    }
    equal([client.rooms.size, client.state], [0, 'online'], 'nothing was changed');
    socket.says('<m>a</m>', '<m r="tea">b</m>', "<m f='Root'>c</m>", '<hello>d</hello>');
    equal(news(), [['custom', null, null, 'd'], ['message', null, 'tea', 'b'], ['private', null, null, 'a'],
      ['broadcast', 'Root', null, 'c']], 'without a sender');
    for (const xml of ['<roominfo />', '<joined />', '<leaved />', '<client />', '<clients />', '<room />',
      '<childrooms />', '<rooms />', '<clientparam />', '<connect />', '<info />', '<help />', pong, 'x', '<a', '']) {
      socket.says(xml);
    }
    equal([client.rooms.size, client.state], [0, 'online'], 'what makes no sense changes nothing');
    equal(typeof (await (() => { const asked = client.ping(); socket.says(pong); return asked; })()), 'number', 'it goes on');
    client.dispose();
  }

  // The rooms are there again when it is ready.
  {
    const [client, first] = await online();
    const ready = heard(client, 'ready');
    await settled();
    equal(ready.length, 0, 'that was before');
    for (const name of ['p', 'c', 'gone']) {
      const room = client.join(name);
      first.says(...roomStanzas(name), pong);
      await room;
    }
    first.says("<childrooms name='p'><room name='c' clients='1' parent='p' >\n</room>\n</childrooms>");
    const set = client.clientparam('mood', 7);
    first.says(pong);
    await set;
    first.ends(1006);
    client.reconnect();
    last().opens();
    const states = heard(client, 'state');
    last().says(granted('Ann'));
    equal(states.map(({ again }) => again), [true], 'again');
    equal(last().news.filter((xml) => xml !== '<ping />'), ['<connect nickname="Ann" />',
      '<clientparam name="mood" value="7" />', '<join room="p" />', '<addchild parentroom="p" childroom="c" />',
      '<join room="gone" />'], 'all that is to be as it was');
    const errors = heard(client, 'error');
    last().says(pong, '<error>Room p is locked</error>', pong, '<error>No room by that name</error>', pong);
    await settled();
    equal([last().news, ready.length], [['<join room="c" />', '<ping />'], 0], 'a child without its parent');
    last().says('<error>Room gone is full</error>', pong, ...roomStanzas('c'), pong);
    await settled();
    equal(ready, [{ nick: 'Ann', again: true, lost: ['p', 'gone'] }], 'ready');
    equal(errors.map(({ text, room }) => [text, room]), [['p: Room p is locked', 'p'], ['gone: Room gone is full', 'gone']], 'who did not let in');
    client.dispose();
    const plain = make();
    const ready2 = heard(plain, 'ready');
    plain.connect(URL_, 'Bob');
    last().opens();
    last().says(granted('Bob'));
    await settled();
    equal(ready2, [{ nick: 'Bob', again: false, lost: [] }], 'nothing to come back to');
    plain.dispose();
  }

  // One param that may be all there are: the list is asked for, but not all the time.
  {
    const [client, socket] = await online();
    const room = client.join('tea');
    socket.says(...roomStanzas('tea'), pong);
    await room;
    socket.news;
    for (let time = 0; time < 100; time += 1) {
      socket.says("<room name='tea' clients='1' >\n <param name='openParams' value='0' />\n</room>");
    }
    equal(socket.news.length, 2, 'asked once');
    await pass(9000);
    equal(socket.news.length, 0, 'and not again');
    await pass(1001);
    equal(socket.news.length, 2, 'for a while');
    client.dispose();
  }

  // A line that is dead is noticed, a quiet one is not disturbed.
  {
    const [client, socket] = await online({ heartbeat: 15000, requestTimeout: 60000 });
    await pass(10000);
    socket.says('<info>x</info>');
    await pass(14000);
    equal(socket.news, [], 'somebody was heard');
    await pass(1000);
    equal(socket.news, ['<ping />'], 'a question');
    await pass(5000);
    socket.says(pong);
    await pass(20000);
    equal([client.state, socket.news], ['online', ['<ping />']], 'a line that lives');
    const said = outcome(client.say('tea', 'x'));
    await pass(4999);
    equal(client.state, 'online', 'ten seconds');
    await pass(1);
    equal([client.state, (await said)[0], socket.readyState], ['waiting', 'timeout', 2], 'a line that is dead');
    socket.onmessage({ data: '<info>late</info>' });
    socket.onclose({ code: 1006 });
    equal(client.state, 'waiting', 'what an old line does is no news');
    client.dispose();

    // Whoever comes back looks at once.
    for (const type of ['online', 'offline', 'pageshow']) {
      const [one, line] = await online();
      dispatchEvent(new Event(type));
      equal(line.news, ['<ping />'], `${type} asks`);
      await pass(5000);
      equal(one.state, 'waiting', `${type} finds out`);
      const { length } = sockets;
      dispatchEvent(new Event(type));
      equal(sockets.length - length, Number(type !== 'offline'), `${type} and a wait`);
      one.dispose();
    }
    let hidden = true;
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    const [one, line] = await online({ heartbeat: 15000 });
    document.dispatchEvent(new Event('visibilitychange'));
    await pass(59999);
    equal(line.news, [], 'nobody looks');
    await pass(1);
    equal(line.news, ['<ping />'], 'it is asked less often');
    line.says(pong);
    hidden = false;
    document.dispatchEvent(new Event('visibilitychange'));
    equal(line.news, ['<ping />'], 'somebody looks');
    // The computer sleeps: when the timer fires, what has come is not yet handled.
    const late = timers.find(({ at }) => at === now + 5000);
    timers = timers.filter((timer) => timer !== late);
    now += 3600000;
    late.act();
    equal(one.state, 'online', 'a late timer asks once more');
    const later = timers.find(({ at }) => at === now + 5000);
    timers = timers.filter((timer) => timer !== later);
    now += 3600000;
    later.act();
    equal(one.state, 'waiting', 'and once only');
    delete document.hidden;
    one.dispose();
  }

  // Nothing is left behind.
  {
    let count = 0;
    const targets = [globalThis, document];
    for (const target of targets) {
      target.addEventListener = (...rest) => { count += 1; EventTarget.prototype.addEventListener.apply(target, rest); };
      target.removeEventListener = (...rest) => { count -= 1; EventTarget.prototype.removeEventListener.apply(target, rest); };
    }
    for (let made = 0; made < 100; made += 1) new Palabre();
    equal(count, 0, 'a client that is not used');
    const [client] = await online();
    equal(count > 0, true, 'a client that is');
    client.connect(URL_, 'Ann').catch(() => {});
    const before = count;
    client.connect(URL_, 'Ann').catch(() => {});
    equal(count, before, 'and again');
    client.quit();
    equal(count, 0, 'a client that has quit');
    const [disposed, socket] = await online();
    const states = heard(disposed, 'state');
    disposed.dispose();
    equal([count, socket.news, states.length, disposed.state], [0, ['<quit />'], 1, 'closed'], 'disposed of');
    // A server that is gone says no farewell.
    const [gone, its] = await online();
    gone.quit();
    await pass(2000);
    equal([gone.state, its.news, count], ['closed', ['<quit />'], 0], 'a farewell without an answer');
    for (const target of targets) { delete target.addEventListener; delete target.removeEventListener; }
    let thrown = null;
    try { gone.on('mesage', () => {}); } catch (error) { thrown = error; }
    equal([thrown instanceof Palabre.Error, thrown?.code], [true, 'bad_use'], 'an event that is none');
    for (const client of clients) client.dispose();
    equal(timers.length, 0, 'no timer is left');
  }

  // Whatever is wrong with a call, it fails as the library says, and leaves nothing half done.
  {
    const bare = Object.create(null);
    const throwing = { toString() { throw new Error('mine'); }, valueOf() { throw new Error('mine'); } };
    const own = { get password() { throw new Error('mine'); }, get heartbeat() { throw new Error('mine'); } };
    const [client, socket] = await online();
    const mistake = (act) => {
      try {
        return { thrown: act() };
      } catch (error) {
        return error instanceof Palabre.Error ? error.code : `${error}`;
      }
    };
    for (const bad of [bare, throwing]) {
      const calls = {
        connect: () => client.connect(bad, 'Ann'), nick: () => client.connect(URL_, bad),
        password: () => client.connect(URL_, 'Ann', { password: bad }),
        login: () => client.login(bad), rootpass: () => client.login('Ann', { rootpass: bad }),
        join: () => client.join(bad), parent: () => client.addchild(bad, 'a'),
        child: () => client.addchild('a', bad), leave: () => client.leave(bad),
        getinfo: () => client.getinfo(bad), kick: () => client.kick(bad),
        setparam: () => client.setparam('a', bad, 'c'), value: () => client.setparam('a', 'b', bad),
        removeparam: () => client.removeparam(bad, 'b'), clientparam: () => client.clientparam(bad, 'b'),
        own: () => client.clientparam('a', bad), say: () => client.say(bad, 'b'),
        said: () => client.say('a', bad), tell: () => client.tell(bad, 'b'),
        told: () => client.tell('a', bad), broadcast: () => client.broadcast(bad),
      };
      for (const [name, call] of Object.entries(calls)) {
        let promise = null;
        equal(mistake(() => { promise = call(); }).thrown, undefined, `${name} throws nothing`);
        equal(await code(promise), 'bad_use', name);
      }
      for (const call of [
        () => client.send(bad), () => client.on(bad, () => {}), () => { client.stanzaBytes = bad; },
        () => new Palabre({ heartbeat: bad }), () => Palabre.stanza(bad, {}), () => Palabre.text(bad),
        () => Palabre.stanza('a', { b: bad }), () => Palabre.stanza('a', {}, bad),
        () => Palabre.escape(bad), () => Palabre.bytes(bad), () => Palabre.parse(bad),
      ]) equal(mistake(call), 'bad_use', `${call}`);
    }
    for (const call of [
      () => client.on(Symbol('s'), () => {}), () => client.on('message', 42), () => client.on('message'),
      () => new Palabre(null), () => new Palabre('x'), () => new Palabre(own),
      () => new Palabre({ heartbeat: 'soon' }), () => new Palabre({ heartbeat: Symbol('s') }),
      () => { client.stanzaBytes = NaN; }, () => new Palabre({ heartbeat: null }),
      () => new Palabre({ requestTimeout: '' }), () => new Palabre({ connectTimeout: [] }),
      () => new Palabre({ loginTimeout: true }), () => new Palabre({ firstDelay: -1 }),
      () => Palabre.stanza('a', null),
    ]) equal(mistake(call), 'bad_use', `${call}`);
    for (const options of [null, 'x', own, { password: 'a\0b' }, { password: 'a\x1bb' }, { rootpass: '\ud800' }]) {
      equal(await code(client.connect(URL_, 'Eve', options)), 'bad_use', 'options of a connection');
      equal(await code(client.login('Eve', options)), 'bad_use', 'options of a login');
    }
    // The connection is what it was, and nothing was sent.
    equal([client.state, client.nick, socket.news], ['online', 'Ann', []], 'as before');
    equal([Palabre.parse(42), Palabre.bytes(42), Palabre.text(Symbol('s'))], [null, 2, 'Symbol(s)'], 'values');
    // What is read once is not read again when the answer comes.
    let reads = 0;
    const joined = client.join({ toString() { reads += 1; if (reads > 1) throw new Error('mine'); return 'tea'; } });
    socket.says('<joined room="tea" />', pong);
    equal([(await joined).name, reads], ['tea', 1], 'a name is read once');
    equal(new Palabre({ heartbeat: undefined, stanzaBytes: '1000' }).stanzaBytes, 1000, 'a number as text');
    client.dispose();
  }

  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout, WebSocket: real.WebSocket });
  Date.now = real.now;
  return checked;
})();
