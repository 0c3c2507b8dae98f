// What the library promises, as the body of an asynchronous function in the chat page. It gives
// the number of things that were checked and throws at the first that is not so.
const [rootPassword] = arguments;

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
  const refused = async (promise, message, what) => {
    const outcome = await promise.then(() => 'granted', (error) => error);
    equal(outcome instanceof Palabre.Error && outcome.message, message, what);
  };
  // The detail of the next event of a type, or of the next that a condition holds for.
  const next = (client, type, holds = () => true) => new Promise((resolve, reject) => {
    const guard = setTimeout(() => reject(new Error(`no event ${type}`)), 20000);
    const end = client.on(type, (detail) => {
      if (!holds(detail)) return;
      clearTimeout(guard);
      end();
      resolve(detail);
    });
  });

  // Every connection of this page, so that one can be broken.
  const sockets = [];
  const Real = WebSocket;
  globalThis.WebSocket = class extends Real {
    constructor(address) {
      super(address);
      sockets.push(this);
    }
  };
  const url = location.href.replace('http', 'ws');
  const hostile = '<a b="c">&amp;\'"\t\n]]> é 🤔';

  // States and login
  const ann = new Palabre();
  const states = [];
  ann.on('state', ({ state }) => states.push(state));
  equal(ann.state, 'closed', 'the first state');
  await refused(ann.join('tea'), 'not connected', 'a request without a connection');
  equal(await ann.connect(url, 'Ann'), 'Ann', 'the login gives the nick');
  equal(states, ['connecting', 'open', 'online'], 'the states on the way');
  equal([ann.nick, ann.state], ['Ann', 'online'], 'logged in');
  const bob = new Palabre({ firstDelay: 3600000, longestDelay: 3600000 });
  await refused(bob.connect(url, 'ann'), 'Nickname empty or already taken', 'a nick that is taken');
  equal(bob.state, 'open', 'a refusal leaves the connection open');
  equal(await bob.login('Bob'), 'Bob', 'another try on the same connection');

  // Rooms
  const tea = await ann.join('tea');
  equal(tea, {
    name: 'tea', parent: null, params: { title: '', openParams: '0' }, clients: { Ann: {} },
    children: [], operator: true,
  }, 'a room that was made');
  equal(ann.rooms.get('tea') === tea, true, 'the room is among the rooms');
  await refused(ann.join('tea'), 'You are already in this room', 'joining twice');
  await refused(ann.join(''), 'No room specified', 'joining nothing');
  const came = next(ann, 'joined');
  const listed = next(ann, 'clients');
  equal((await bob.join('tea')).operator, false, 'who joins later is no operator');
  equal(await came, { room: 'tea', nick: 'Bob', self: false }, 'somebody joined');
  equal((await listed).clients, { Ann: {}, Bob: {} }, 'the list of clients');
  const children = next(bob, 'childrooms', ({ room }) => room === 'tea');
  const biscuits = await ann.addchild('tea', 'biscuits');
  equal([biscuits.parent, biscuits.operator], ['tea', true], 'a child room');
  equal((await children).children.map(({ name, clients }) => [name, clients]), [['biscuits', 1]],
    'the child rooms are told');
  equal(bob.rooms.get('tea').children.length, 1, 'the child rooms are kept');
  equal((await bob.getrooms()).map(({ name, clients, parent }) => [name, clients, parent]),
    [['tea', 2, null], ['biscuits', 1, 'tea']], 'the list of rooms');
  await refused(ann.addchild('nowhere', 'x'), 'No room by that name', 'a child of nothing');
  await refused(ann.leave('nowhere'), 'Not a known room', 'leaving what one is not in');

  // A room that was kept for its child is not made anew by who comes back.
  const kept = await bob.join('kept');
  await bob.addchild('kept', 'kept child');
  await bob.leave('kept');
  equal(bob.rooms.has('kept'), false, 'a room that was left');
  equal([kept.operator, (await bob.join('kept')).operator], [true, false], 'an empty room that was kept');

  // Params
  const changed = next(bob, 'room');
  await ann.setparam('tea', 'title', hostile);
  equal((await changed).changed, { title: hostile }, 'a param is told');
  equal(bob.rooms.get('tea').params, { title: hostile, openParams: '0' }, 'a param is kept');
  await refused(bob.setparam('tea', 'title', 'x'), 'You must be an operator of this room', 'no right');
  await ann.setparam('tea', 'openParams', '1');
  equal(ann.rooms.get('tea').params.get('title'), hostile, 'a change leaves the others');
  await bob.setparam('tea', 'cups', 3);
  await ann.removeparam('tea', 'cups');
  equal(ann.rooms.get('tea').params, { title: hostile, openParams: '1' }, 'a param was removed');
  await refused(ann.removeparam('tea', 'openParams'), "openParams can't be removed", 'what stays');
  const told = next(bob, 'room', ({ unsure }) => unsure);
  await ann.removeparam('tea', 'title');
  await told;
  await bob.ping();
  equal(bob.rooms.get('tea').params, { openParams: '1' }, 'the last param but one was removed');
  const mine = next(bob, 'clientparam');
  await ann.clientparam('mood', hostile);
  equal(await mine, { room: 'tea', nick: 'Ann', name: 'mood', value: hostile }, 'a client param');
  equal(bob.rooms.get('tea').clients.get('Ann'), { mood: hostile }, 'a client param is kept');
  const lonely = new Palabre();
  await lonely.connect(url, 'Lonely');
  await lonely.clientparam('seen', 'by nobody');
  equal(lonely.params, { seen: 'by nobody' }, 'a client param outside of all rooms');

  // Messages
  const heard = next(bob, 'message');
  await ann.say('tea', hostile);
  const { room, from, text, name } = await heard;
  equal([room, from, text, name], ['tea', 'Ann', hostile, 'm'], 'a message arrives as it was said');
  await refused(ann.say('nowhere', 'x'), 'No room by that name', 'talking where one is not');
  const whispered = next(bob, 'private');
  ann.tell('Bob', 'psst');
  equal((({ from: who, text: what }) => [who, what])(await whispered), ['Ann', 'psst'], 'a whisper');
  const custom = next(bob, 'custom');
  ann.send(Palabre.stanza('pour', { toroom: 'tea', cup: hostile }, 'hot'));
  equal((({ name: what, from: who, element }) => [what, who, element.getAttribute('cup')])(await custom),
    ['pour', 'Ann', hostile], 'a stanza of one\'s own');
  // Nobody's stanza is taken for one of the server's own, or for what is no XML.
  const refusal = next(ann, 'error');
  ann.send('<x:error xmlns:x="urn:x" toclient="Bob">You have been kicked from the server</x:error>');
  equal((await refusal).text, 'Stanzas named x:error are the server\'s own and can\'t be relayed',
    'a forged error');
  const odd = next(bob, 'message');
  ann.send('<m toroom="tea">odd<parsererror /></m>');
  equal((await odd).text, 'odd', 'an element that browsers use for failures');
  // What a whisper is answered with is not taken for the answer to the request behind it.
  const error = next(ann, 'error');
  ann.tell('Nobody', 'x');
  const [first, second] = [ann.join('cellar'), ann.getrooms()];
  equal((await error).text, 'No user connected with nickname: Nobody', 'an error of no request');
  equal([(await first).name, (await second).length > 3], ['cellar', true], 'requests behind it');
  equal(typeof await ann.ping(), 'number', 'a ping');
  equal((await ann.help()).includes('<ping />'), true, 'the help');
  const many = await Promise.allSettled([ann.leave('cellar'), ann.leave('cellar'), ann.ping(), ann.join('')]);
  equal(many.map(({ status }) => status), ['fulfilled', 'rejected', 'fulfilled', 'rejected'],
    'many requests at once');

  // Whatever the server makes of a name, or refuses of it, no request waits for ever.
  for (const [asked, known] of [[42, '42'], ['\ud800 x', '\ufffd x'], ['\u0000', '\ufffd'], ['e\u0301', '\u00e9']]) {
    equal((await ann.join(asked)).name, known, `the room ${written(known)}`);
    await ann.say(asked, asked);
    await ann.setparam(asked, 'title', asked);
    await ann.leave(asked);
  }
  for (const asked of ['a\tb', ' x', null, 'x'.repeat(200)]) {
    const outcome = await ann.join(asked).then(() => 'granted', ({ code }) => code);
    equal(outcome, 'refused', `the room ${written(asked)}`);
  }
  await lonely.clientparam(7, '\udc00');
  equal(lonely.params.get('7'), '\ufffd', 'a param as the server has it');
  equal(await ann.tell('Bob', 'x'), null, 'a whisper is confirmed');
  equal(await ann.tell('Nobody', 'x').catch(({ code }) => code), 'refused', 'a whisper to nobody');
  equal(typeof await ann.ping(), 'number', 'and the next request');

  // A listener's mistake keeps nothing from others; off() ends it.
  const loud = [];
  const off = bob.on('message', () => loud.push(1));
  off();
  await ann.say('tea', 'quiet');
  await bob.ping();
  equal(loud, [], 'a listener that was taken off');

  // Root
  const root = new Palabre();
  await root.connect(url, 'Root', { rootpass: rootPassword });
  const info = await root.getinfo('tea');
  equal([info.name, info.clients.has('Bob'), info.childrooms.map((child) => child.name),
    info.infos.has('createdtime')], ['tea', true, ['biscuits'], true], 'all about a room');
  await refused(ann.getinfo('tea'), 'You must be root', 'without root');
  const announced = next(lonely, 'broadcast');
  root.broadcast('closing time');
  equal((await announced).text, 'closing time', 'a broadcast');
  const left = [next(lonely, 'kicked'), next(lonely, 'state')];
  equal(await root.kick('Lonely'), 'Client Lonely kicked', 'a kick');
  equal((await left[0]).reason, 'You have been kicked from the server by an administrator', 'kicked');
  equal((({ state, code }) => [state, code])(await left[1]), ['closed', 1008], 'a kick is for good');
  await refused(root.kick('Lonely'), 'No user connected with nickname: Lonely', 'a second kick');

  // A connection that is lost. Bob's wait is longer than this test: it is ended by hand.
  const pending = [];
  const lose = (client, index) => {
    const waiting = next(client, 'state', ({ state }) => state === 'waiting');
    pending.push(client.join('never').then(() => 'granted', (problem) => problem.message));
    sockets[index].close(4000);
    return waiting;
  };
  await bob.join('attic');
  const firstWait = await lose(bob, 1);
  equal(await bob.leave('attic'), null, 'a room can be left meanwhile');
  equal(firstWait.attempt, 1, 'the first attempt');
  equal(firstWait.delay >= 1800000 && firstWait.delay <= 3600000, true, 'the first wait');
  equal(await Promise.all(pending), ['the connection was closed'], 'what was asked and not answered');
  equal([bob.nick, bob.rooms.size], [null, 0], 'nothing is known of a lost connection');
  // Somebody takes the nick meanwhile: no reason to give up.
  await ann.ping();
  const thief = new Palabre();
  await thief.connect(url, 'Bob');
  const again = next(bob, 'state', ({ state }) => state === 'waiting');
  bob.reconnect();
  const secondWait = await again;
  equal([secondWait.attempt, secondWait.reason], [2, 'Nickname empty or already taken'], 'still taken');
  const gone = next(thief, 'state', ({ state }) => state === 'closed');
  thief.quit();
  equal((await gone).code, 1000, 'a good-bye is a normal end');
  const back = next(ann, 'joined', ({ nick }) => nick === 'Bob');
  const entered = next(bob, 'clients', ({ room: where }) => where === 'kept child');
  bob.reconnect();
  equal(await back, { room: 'tea', nick: 'Bob', self: false }, 'back in the room');
  await entered;
  equal([...bob.rooms.keys()].sort(), ['kept', 'kept child', 'tea'], 'back in all rooms');
  equal(bob.rooms.get('kept child').parent, 'kept', 'the child room is in its parent again');
  // What the first connection was about to join was never granted, so it is not joined.
  equal(bob.rooms.has('never'), false, 'nothing else is joined');

  // Params of one's own come back as well, by themselves and soon.
  const soon = next(bob, 'clients', ({ clients }) => clients.get('Ann')?.has('mood'));
  sockets[0].close(4000);
  await soon;
  equal(bob.rooms.get('tea').clients.get('Ann'), { mood: hostile }, 'the param is there again');

  // A session in binary frames: bytes of a stream, cut at NULs.
  const Text = globalThis.WebSocket;
  globalThis.WebSocket = class extends Text {
    send(xml) { super.send(new TextEncoder().encode(`${xml}\0`)); }
  };
  const binary = new Palabre();
  await binary.connect(url, 'Binary');
  await binary.join('tea');
  const seen = next(ann, 'message');
  await binary.say('tea', hostile);
  equal((await seen).text, hostile, 'a message of a session in binary frames');
  equal(binary.rooms.get('tea').clients.has('Ann'), true, 'the list of clients in binary frames');
  globalThis.WebSocket = Real;

  // Escaping
  equal(Palabre.stanza('m', { r: '"<\'&>\t\n\r', b: null }, 'a<b&c>\r\n"'),
    '<m r="&quot;&lt;&apos;&amp;&gt;&#9;&#10;&#13;">a&lt;b&amp;c&gt;&#13;\n"</m>', 'what is escaped');
  equal(Palabre.escape('\u0000\u001f\ud800\ufffe'), '\ufffd'.repeat(4), 'what XML can not carry');
  equal(Palabre.parse('<a'), null, 'what is no XML');
  for (const client of [ann, bob, root, binary]) {
    const end = next(client, 'state', ({ state }) => state === 'closed');
    client.quit();
    await end;
  }
  return checked;
})();
