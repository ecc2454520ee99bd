// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && quartet_simulated

package reactor_test

import (
	"encoding/binary"
	"os"
	"slices"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/quartet-go/quartet/reactor"
	"golang.org/x/sys/unix"
)

// An openFile is what a number stands for: a stream, a listening socket or a waker, and how it is watched.
type openFile struct {
	stream *stream
	queue  *backlog
	waker  bool
	rung   bool

	poller  *simulatedPoller // nil for none
	events  uint32
	edge    bool
	pending bool // edge-triggered: there is an event to report
	faulted bool // epoll_ctl failed for it, so what is registered may not be what was wanted
}

// A backlog is a listening socket.
type backlog struct {
	waiting []*stream
	unix    bool
}

// A stream is a connected socket, its peer's half included. What the peer sends is a pattern, so nothing is stored: the
// counts say it all. What is sent to it is records, which are checked as the kernel takes them.
type stream struct {
	serial int
	unix   bool
	fd     int // -1 when not accepted yet or closed
	d      *openFile

	// Towards the reactor.
	sent     int   // bytes the peer has sent
	received int   // of them, those that recv has returned
	inMax    int   // how many may lie between
	fin      bool  // the peer's end has come
	ended    bool  // recv has returned it, or an error
	moved    int64 // when a byte last moved in either direction
	heard    int64 // and when one was received

	// From the reactor.
	records parser
	taken   int   // bytes the kernel has taken
	unread  int   // of them, those that the peer has not read
	outMax  int   // how many may be unread
	room    int64 // when a byte was last taken
	full    bool  // send took less than it was offered
	shut    bool  // the end was sent
	deaf    bool  // the peer does not read at the moment

	gone      bool // the peer has closed
	broken    bool // nothing can be sent any more
	errno     unix.Errno
	resetting bool // close will reset
	destroyed bool // what the peer has not read was lost
	closed    bool // the reactor has
	faulted   bool // it could not watch the stream

	life *life // who handles it
}

// arrived is how many bytes wait to be received.
func (s *stream) arrived() int { return s.sent - s.received }

// writable is what poll(2) says; TCP and unix sockets want a third to be free.
func (s *stream) writable() bool { return (s.outMax-s.unread)*3 >= s.outMax }

// readiness is what poll(2) would say.
func (d *openFile) readiness() (events uint32) {
	switch {
	case d.waker && d.rung, d.queue != nil && len(d.queue.waiting) > 0:
		return unix.EPOLLIN
	case d.stream == nil:
		return 0
	}
	s := d.stream
	if s.arrived() > 0 || s.fin {
		events |= unix.EPOLLIN
	}
	if s.fin {
		events |= unix.EPOLLRDHUP
	}
	if s.writable() || s.broken {
		events |= unix.EPOLLOUT
	} else {
		s.full = true
	}
	if s.fin && (s.shut || s.broken) {
		events |= unix.EPOLLHUP
	}
	if s.errno != 0 {
		events |= unix.EPOLLERR
	}
	return events
}

// always is what epoll(7) reports unasked.
const always = unix.EPOLLERR | unix.EPOLLHUP

// reportable is what of it would be reported.
func (d *openFile) reportable() uint32 { return d.readiness() & (d.events | always) }

// wake is the kernel's wake-up of who polls, for some events or, with 0, for any.
func (d *openFile) wake(events uint32) {
	if d != nil && d.poller != nil && d.edge && (events == 0 || events&(d.events|always) != 0) {
		d.pending = true
	}
}

// open gives d the lowest free number.
func (k *simulation) open(d *openFile) int {
	fd := slices.Index(k.files, nil)
	if fd < 0 {
		fd = len(k.files)
		k.files = append(k.files, nil)
	}
	k.files[fd] = d
	return fd
}

// at returns the open file of a number, nil and a complaint for others.
func (k *simulation) at(call string, fd int) *openFile {
	if fd < 0 || fd >= len(k.files) || k.files[fd] == nil {
		k.complain("%s of descriptor %d, which is not open", call, fd)
		return nil
	}
	return k.files[fd]
}

// streamAt is at for what only the stream's own connection may do, in a step of its own.
func (k *simulation) streamAt(call string, fd int) *stream {
	d := k.at(call, fd)
	if d == nil {
		return nil
	}
	s := d.stream
	if s == nil {
		k.complain("%s of descriptor %d, which is no stream", call, fd)
		return nil
	}
	if id := reactor.RunningID(k.r, k.running.loop); s.life != nil && id != s.life.id {
		k.complain("%s of descriptor %d of connection %d in a step of connection %d", call, fd, s.life.id, id)
	}
	return s
}

// OpenWaker, Ring and Silence are eventfd's.
func (k *simulation) OpenWaker() int { return k.open(&openFile{waker: true}) }

func (k *simulation) Ring(fd int) {
	if d := k.at("ring", fd); d != nil {
		k.note("ring", fd, 0, 0)
		d.rung = true
		d.wake(unix.EPOLLIN)
	}
}

func (k *simulation) Silence(fd int) {
	if d := k.at("silence", fd); d != nil {
		d.rung = false
	}
}

// Accept is accept4(2).
func (k *simulation) Accept(fd int, raw *unix.RawSockaddrAny) (int, unix.Errno) {
	d := k.at("accept", fd)
	if d == nil {
		return -1, unix.EBADF
	}
	n, errno := k.accept(d)
	k.note("accept", fd, n, int(errno))
	if errno != 0 {
		return -1, errno
	}
	s := k.files[n].stream
	if !s.unix {
		port := uint16(s.serial)
		in4 := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{10, 0, byte(s.serial >> 16), byte(s.serial % 3)}}
		*(*[2]byte)(unsafe.Pointer(&in4.Port)) = [2]byte{byte(port >> 8), byte(port)}
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(raw)) = in4
	}
	return n, 0
}

// Readable is poll(2).
func (k *simulation) Readable(fd int) bool {
	d := k.at("poll", fd)
	return d != nil && d.readiness()&unix.EPOLLIN != 0
}

var acceptFaults = []unix.Errno{
	unix.EINTR, unix.ECONNABORTED, unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN,
}

func (k *simulation) accept(d *openFile) (int, unix.Errno) {
	if len(d.queue.waiting) == 0 {
		return -1, unix.EAGAIN
	}
	if k.fault(20) {
		errno := acceptFaults[k.upTo(len(acceptFaults))]
		if errno == unix.EAGAIN {
			d.wake(unix.EPOLLIN) // who waits came a moment later
		}
		k.short = k.short || errno == unix.EMFILE || errno == unix.ENFILE
		return -1, errno
	}
	if !k.calm && k.openFiles() >= k.maxFiles {
		k.short = true
		return -1, unix.EMFILE
	}
	s := d.queue.waiting[0]
	d.queue.waiting = d.queue.waiting[1:]
	s.d = &openFile{stream: s}
	s.fd = k.open(s.d)
	return s.fd, 0
}

func (k *simulation) openFiles() (n int) {
	for _, d := range k.files {
		if d != nil {
			n++
		}
	}
	return n
}

// Queued is SIOCINQ.
func (k *simulation) Queued(fd int) int {
	s := k.streamAt("ioctl", fd)
	if s == nil {
		return 0
	}
	k.note("ioctl", fd, s.arrived(), 0)
	return s.arrived()
}

// Recv is recvfrom(2).
func (k *simulation) Recv(fd int, p []byte) (int, unix.Errno) {
	k.interlude(16)
	s := k.streamAt("recv", fd)
	if s == nil {
		return 0, unix.EBADF
	}
	n, errno := k.recv(s, p)
	k.note("recv", fd, n, int(errno))
	return n, errno
}

func (k *simulation) recv(s *stream, p []byte) (int, unix.Errno) {
	switch n := min(s.arrived(), len(p)); {
	case len(p) == 0:
		k.complain("recv of nothing from descriptor %d", s.fd)
		return 0, unix.EINVAL
	case s.ended:
		k.complain("recv from descriptor %d after its end", s.fd)
		return 0, 0
	case k.fault(20):
		s.d.wake(unix.EPOLLIN) // what is there came a moment later
		return 0, unix.EAGAIN
	case k.fault(40):
		return 0, unix.EINTR
	case n > 0:
		if k.fault(3) {
			n = 1 + k.upTo(n)
		}
		copy(p, patternOf(s.serial, s.received, n))
		s.received += n
		s.moved, s.heard = k.now(), k.now()
		return n, 0
	case s.errno != 0:
		s.ended = true
		return 0, s.takeError()
	case s.fin:
		s.ended = true
		return 0, 0
	}
	return 0, unix.EAGAIN
}

// takeError is the kernel's sock_error: who asks clears it.
func (s *stream) takeError() unix.Errno {
	errno := s.errno
	s.errno = 0
	return errno
}

// Send is sendto(2) and sendmsg(2).
func (k *simulation) Send(fd int, parts ...[]byte) (int, unix.Errno) {
	k.interlude(16)
	s := k.streamAt("send", fd)
	if s == nil {
		return 0, unix.EBADF
	}
	if s.life != nil {
		s.life.gathered = 0
	}
	offered := 0
	for _, p := range parts {
		if len(p) == 0 {
			k.complain("send of an empty part to descriptor %d", fd)
		}
		offered += len(p)
	}
	if len(parts) == 0 || len(parts) > reactor.MaxParts {
		k.complain("send of %d parts to descriptor %d", len(parts), fd)
	}
	n, errno := k.send(s, offered)
	k.note("send", fd, n, int(errno))
	left := n
	for _, p := range parts {
		part := p[:min(left, len(p))]
		s.records.parse(k, s.serial, part)
		left -= len(part)
	}
	return n, errno
}

func (k *simulation) send(s *stream, offered int) (int, unix.Errno) {
	free := s.outMax - s.unread
	switch {
	case s.shut:
		k.complain("send to descriptor %d after its writing half was shut down", s.fd)
		return 0, unix.EPIPE
	case s.errno != 0:
		return 0, s.takeError()
	case s.broken:
		return 0, unix.EPIPE
	case k.fault(20):
		s.full = true
		k.drained(s) // it was full a moment ago
		return 0, unix.EAGAIN
	case k.fault(60):
		return 0, unix.EINTR
	case !reactor.EdgeTriggered && k.fault(100):
		return 0, unix.ENOBUFS
	case free == 0:
		s.full = true
		return 0, unix.EAGAIN
	}
	n := min(offered, free)
	if n > 1 && k.fault(5) {
		n = 1 + k.upTo(n-1)
	}
	s.full = n < offered
	s.taken += n
	s.unread += n
	s.moved, s.room = k.now(), k.now()
	if s.gone {
		k.reset(s) // that is what a peer that has closed answers
	}
	if s.full {
		k.drained(s)
	}
	return n, 0
}

// drained wakes who waits for room, if there is some.
func (k *simulation) drained(s *stream) {
	if s.full && s.writable() {
		s.full = false
		s.d.wake(unix.EPOLLOUT)
	}
}

// reset is what a peer's RST does.
func (k *simulation) reset(s *stream) {
	s.errno = unix.ECONNRESET
	if s.fin {
		s.errno = unix.EPIPE
	}
	s.fin, s.broken, s.gone, s.unread = true, true, true, 0
	s.d.wake(0)
}

// hangUp is the peer's close(2): with something unread a reset, as the kernels' TCP has it.
func (k *simulation) hangUp(s *stream) {
	switch {
	case !s.unix && s.unread > 0:
		k.reset(s)
		return
	case s.unix && s.unread > 0:
		s.errno = unix.ECONNRESET
		fallthrough
	case s.unix:
		s.broken = true
	}
	s.fin, s.gone, s.unread = true, true, 0
	s.d.wake(0)
}

// ShutdownWriting is shutdown(2).
func (k *simulation) ShutdownWriting(fd int) {
	s := k.streamAt("shutdown", fd)
	if s == nil {
		return
	}
	k.note("shutdown", fd, 0, 0)
	k.checkWhole(s)
	s.shut = true
	s.d.wake(0)
}

// checkWhole complains if the peer would see its input end inside a record.
func (k *simulation) checkWhole(s *stream) {
	if s.records.inside() {
		k.complain("the peer of descriptor %d sees its input end after %d bytes, inside a record", s.fd, s.taken)
	}
}

// ResetOnClose is SO_LINGER of 0 s.
func (k *simulation) ResetOnClose(fd int) {
	if d := k.at("setsockopt", fd); d != nil && d.stream != nil {
		d.stream.resetting = true
	}
}

// SocketError is SO_ERROR.
func (k *simulation) SocketError(fd int) unix.Errno {
	s := k.streamAt("getsockopt", fd)
	if s == nil {
		return unix.EBADF
	}
	errno := s.takeError()
	k.note("getsockopt", fd, 0, int(errno))
	return errno
}

// Close is close(2).
func (k *simulation) Close(fd int) {
	d := k.at("close", fd)
	if d == nil {
		return
	}
	k.note("close", fd, 0, 0)
	if d.poller != nil && !d.waker && !reactor.EdgeTriggered && !d.faulted {
		k.complain("close of descriptor %d, which is still watched", fd)
	}
	k.files[fd] = nil
	d.poller = nil
	if d.queue != nil {
		for _, s := range d.queue.waiting {
			s.closed, s.destroyed = true, true
		}
	}
	s := d.stream
	if s == nil {
		return
	}
	s.closed, s.faulted, s.d, s.fd = true, d.faulted, nil, -1
	if s.resetting || s.arrived() > 0 {
		s.destroyed = true
		k.counts.resets++
	} else {
		k.checkWhole(s)
	}
	if s.life != nil {
		s.life.descriptorClosed()
	}
}

// A simulatedPoller is one loop's epoll(7).
type simulatedPoller struct {
	k       *simulation
	loop    int
	batches chan []occurrence
	ended   bool
}

// An occurrence is an event, as epoll_wait(2) would report it.
type occurrence struct {
	fd     int
	events uint32
}

func (k *simulation) OpenPoller() reactor.NativePoller {
	p := &simulatedPoller{k: k, loop: len(k.pollers), batches: make(chan []occurrence)}
	k.pollers = append(k.pollers, p)
	return p
}

// Polling hands the baton back and waits for a batch, until the callback ends it. So however many loops there are, one
// goroutine at a time runs.
func (p *simulatedPoller) Polling(callback netpoll.PollEventHandler) error {
	for {
		p.k.baton <- p
		for _, o := range <-p.batches {
			p.k.interlude(8)
			p.k.note("event", o.fd, int(o.events), 0)
			p.k.counts.events++
			if err := callback(o.fd, o.events, 0); err != nil {
				return err
			}
		}
	}
}

func (p *simulatedPoller) Close() error {
	p.ended = true
	p.k.baton <- p
	return nil
}

// ready returns the descriptors with something to report.
func (p *simulatedPoller) ready(dst []int) []int {
	for fd, d := range p.k.files {
		if d != nil && d.poller == p && (!d.edge || d.pending) {
			if d.reportable() != 0 {
				dst = append(dst, fd)
			} else {
				d.pending = false
			}
		}
	}
	return dst
}

func (p *simulatedPoller) AddRead(pa *netpoll.PollAttachment, edge bool) error {
	return p.add(pa.FD, netpoll.ReadEvents, edge)
}

func (p *simulatedPoller) AddWrite(pa *netpoll.PollAttachment, edge bool) error {
	return p.add(pa.FD, netpoll.WriteEvents, edge)
}

func (p *simulatedPoller) AddReadWrite(pa *netpoll.PollAttachment, edge bool) error {
	return p.add(pa.FD, netpoll.ReadWriteEvents, edge)
}

func (p *simulatedPoller) ModRead(pa *netpoll.PollAttachment, edge bool) error {
	return p.modify(pa.FD, netpoll.ReadEvents, edge)
}

func (p *simulatedPoller) ModReadWrite(pa *netpoll.PollAttachment, edge bool) error {
	return p.modify(pa.FD, netpoll.ReadWriteEvents, edge)
}

func (p *simulatedPoller) add(fd int, events uint32, edge bool) error {
	d := p.k.at("epoll_ctl add", fd)
	switch {
	case d == nil:
		return unix.EBADF
	case d.poller != nil:
		if !reactor.EdgeTriggered {
			p.k.complain("epoll_ctl add of descriptor %d, which is watched", fd)
		}
		return unix.EEXIST
	}
	return p.register("add", fd, d, events, edge)
}

func (p *simulatedPoller) modify(fd int, events uint32, edge bool) error {
	d := p.k.at("epoll_ctl mod", fd)
	if d == nil || !p.watches("mod", fd, d) {
		return unix.ENOENT
	}
	return p.register("mod", fd, d, events, edge)
}

// watches says whether d is watched here, and complains if not though it should be.
func (p *simulatedPoller) watches(call string, fd int, d *openFile) bool {
	if d.poller != p && !d.faulted {
		p.k.complain("epoll_ctl %s of descriptor %d, which is not watched", call, fd)
	}
	return d.poller == p
}

func (p *simulatedPoller) register(call string, fd int, d *openFile, events uint32, edge bool) error {
	if !d.waker && p.k.fault(300) {
		d.faulted = true
		p.k.note(call, fd, int(events), int(unix.ENOMEM))
		return os.NewSyscallError("epoll_ctl", unix.ENOMEM)
	}
	p.k.note(call, fd, int(events), 0)
	if d.poller, d.events, d.edge = p, events, edge; edge {
		d.events |= unix.EPOLLRDHUP
	}
	d.pending = true // if there is something to report now
	return nil
}

func (p *simulatedPoller) Delete(fd int) error {
	d := p.k.at("epoll_ctl del", fd)
	if d == nil || !p.watches("del", fd, d) {
		return unix.ENOENT
	}
	p.k.note("del", fd, 0, 0)
	d.poller = nil
	return nil
}

// The pattern of what peers send: each stream begins elsewhere in one table, whose length is prime.
const patternSize = 4099

var patternTable = func() []byte {
	t := make([]byte, patternSize+1<<19)
	x := uint32(1)
	for i := range t {
		if i >= patternSize {
			t[i] = t[i-patternSize]
			continue
		}
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		t[i] = byte(x)
	}
	return t
}()

// patternOf returns n bytes, at most 512 KiB, of a stream's pattern.
func patternOf(stream, offset, n int) []byte {
	start := (stream*577 + offset) % patternSize
	return patternTable[start : start+n]
}

// What is sent to a peer is records: where it comes from, four bytes with how long it is, and as many bytes of that
// source's pattern. So the order of each source can be checked however the sources mix.
type source byte

const (
	fromLoop      source = iota // Conn's methods
	fromElsewhere               // Ref's
	sources
)

const recordHeader = 5

// appendRecord appends a record of n bytes of pattern.
func appendRecord(dst []byte, stream int, from source, offset, n int) []byte {
	dst = append(dst, byte(from))
	dst = binary.BigEndian.AppendUint32(dst, uint32(n))
	return append(dst, patternOf(stream*int(sources)+int(from)+1, offset, n)...)
}

// A parser checks a stream of records.
type parser struct {
	header [recordHeader]byte
	have   int // bytes of header
	left   int // bytes of the record that are missing
	next   [sources]int
}

func (r *parser) inside() bool { return r.have > 0 }

func (r *parser) parse(k *simulation, stream int, p []byte) {
	for len(p) > 0 {
		if r.have < recordHeader {
			n := copy(r.header[r.have:], p)
			p = p[n:]
			if r.have += n; r.have < recordHeader {
				return
			}
			r.left = int(binary.BigEndian.Uint32(r.header[1:]))
			if r.header[0] >= byte(sources) || r.left > 1<<18 {
				k.complain("the peer of stream %d is sent something else than records", stream)
				return
			}
		}
		from := int(r.header[0])
		n := min(r.left, len(p))
		if string(p[:n]) != string(patternOf(stream*int(sources)+from+1, r.next[from], n)) {
			k.complain("the peer of stream %d is sent wrong bytes at %d of source %d", stream, r.next[from], from)
		}
		r.next[from] += n
		p = p[n:]
		if r.left -= n; r.left == 0 {
			r.have = 0
		}
	}
}
