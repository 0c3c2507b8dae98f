// A server inside the page, for tests that say by hand what a server says: `scripted.says(…)`. It
// answers logins, joins and pings like the real one; `scripted.mute` has it answer nothing.
globalThis.scripted = {
  sockets: [],
  sent: [],
  mute: false,
  rooms: "<rooms nb='0'>\n</rooms>",
  get socket() { return this.sockets.at(-1); },
  says(...stanzas) { for (const data of stanzas) this.socket.onmessage({ data }); },
  ends(code = 1006) {
    this.socket.readyState = 3;
    this.socket.onclose({ code });
  },
  room(name, nicks) {
    const clients = nicks.map((nick) => `\n  <client name='${nick}' />`).join('');
    this.says(`<joined room='${name}' />`, `<childrooms name='${name}'>\n</childrooms>`,
      `<room name='${name}' clients='${nicks.length}' >\n <param name='title' value='' />\n <param name='openParams' value='0' />\n</room>`,
      `<clients room='${name}' nb='${nicks.length}'>${clients}\n</clients>`);
  },
  answer(xml) {
    this.sent.push(xml);
    if (this.mute) return;
    const element = new DOMParser().parseFromString(xml, 'text/xml').documentElement;
    const [nick, room] = ['nickname', 'room'].map((name) => element.getAttribute(name));
    if (element.nodeName === 'connect') {
      this.nick = nick;
      this.says(`<connect isok='1' msg='Your nickname is now : ${nick}'/>`);
    }
    if (element.nodeName === 'ping') this.says('<pong />');
    if (element.nodeName === 'join') this.room(room, [this.nick]);
    if (element.nodeName === 'leave') this.says(`<leaved room='${room}' />`);
    if (element.nodeName === 'getrooms') this.says(this.rooms);
    if (element.hasAttribute('back')) {
      this.says(`<m f="${this.nick}" r="${element.getAttribute('toroom')}">${element.textContent}</m>`);
    }
  },
};
globalThis.WebSocket = class {
  constructor() {
    scripted.sockets.push(this);
    this.readyState = 0;
    queueMicrotask(() => {
      this.readyState = 1;
      this.onopen({});
    });
  }

  send(xml) { queueMicrotask(() => { if (this.readyState === 1) scripted.answer(xml); }); }

  close() { this.readyState = 3; }
};
