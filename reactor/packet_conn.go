// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxBatch         = 64        // datagrams received or sent by one call, and for one event
	maxDrainBatches  = 256       // batches served when draining, for clients may not stop
	packetGatherSize = 128 << 10 // bytes of datagrams that gather before they are sent

	maxPayload4 = 65535 - 20 - 8 // IPv4's length includes its own header and UDP's (RFC 791, RFC 768)
	maxPayload6 = 65535 - 8      // IPv6's does not include its own (RFC 8200)
	maxRaw      = 65535          // of what is no UDP; the kernel knows the rest
)

// packets is what the packet sockets of one loop share: buffers for one batch in and one out, and where the
// running batch stands. The platform files add what their system calls need, and
//
//	receive(fd, max, count) (n, errno)  receives up to count datagrams, of each at most max bytes, without blocking
//	describe(i, d) drops, told          fills d from the i-th of them; what the kernel dropped so far, if it told
//	transmit(fd, f, gso, out) (n, errno)
//	        sends the first n of out, segmented if gso says so; errno is why the first could not be sent, with n = 0
type packets struct {
	running *PacketConn // whose batch is being served, or whose posted datagrams gather
	posting bool        // the latter
	ended   bool        // serve came to its end, neither panic nor Goexit ended it
	got     int         // datagrams of the batch
	next    int         // of these, the first not yet delivered
	d       Datagram
	whole   Datagram  // of which d is a segment, while there are more
	rest    []byte    // these
	arrived *Datagram // what a session is to be given
	stamp   int64     // when the batch was, for sessions; 0 until one asks

	stride int
	in     []byte     // maxBatch buffers, stride bytes apart
	gather []byte     // payloads of out
	out    []outgoing // sent by the handler and not yet given to the kernel
	batch  []outgoing // scratch, of a queue

	failures []failure // not yet told, of whichever socket
	telling  bool      // SendError is running or has run last: what fails now is only counted

	packetCalls
}

// An outgoing datagram. Its payload lies in packets.gather.
type outgoing struct {
	payload []byte
	source  netip.Addr
	to      netip.AddrPort
}

type failure struct {
	conn  *PacketConn
	to    netip.AddrPort
	errno unix.Errno
	came  bool // back, as an ICMP message; not refused by the kernel
}

// packetRoom prepares the loop for datagrams of up to limit bytes. Memory comes from the kernel when it is first
// touched, and small datagrams touch little: the first buffers are used first, and of each its beginning.
func (l *loop) packetRoom(limit int) {
	if l.packets == nil {
		l.packets = &packets{
			gather:   make([]byte, 0, packetGatherSize),
			out:      make([]outgoing, 0, maxBatch),
			batch:    make([]outgoing, 0, maxBatch),
			failures: make([]failure, 0, maxBatch),
		}
	}
	if p := l.packets; limit > p.stride {
		p.in, p.stride = make([]byte, maxBatch*limit), limit
	}
}

// buffer returns the i-th buffer for receiving.
func (p *packets) buffer(i int) []byte {
	end := (i + 1) * p.stride
	return p.in[i*p.stride : end : end]
}

func (s *PacketConn) descriptor() int { return s.fd }

// due is when sessions will have idled, or the queue may be tried again.
func (s *PacketConn) due() int64 {
	at := s.idleAt()
	if s.queue != nil && s.queue.again != 0 && (at == 0 || s.queue.again < at) {
		at = s.queue.again
	}
	return at
}

func (s *PacketConn) idleAt() int64 {
	if at := s.sessions.idleAt(); at != 0 && !s.ending {
		return coarse(at, s.sessions.owner.opts.IdleTimeout)
	}
	return 0
}

// retry sends from the queue and ends the sessions that have idled.
func (s *PacketConn) retry() {
	l, t := s.loop, s.loop.clock.now()
	if q := s.queue; q != nil && q.again != 0 && q.again <= t {
		q.again = 0
		s.ready()
	}
	if at := s.idleAt(); s.fd >= 0 && at != 0 && at <= t {
		if s.receive() { // who waits in the socket has not idled
			l.deadlines.arm(l, t+int64(time.Millisecond))
			return
		}
		s.sessions.endIdle(t)
	}
	if at := s.due(); at != 0 {
		l.deadlines.arm(l, at)
	}
}

// ready sends what waits, receives a batch and serves it. Level-triggered, what is left is reported again, after the
// other descriptors had their turn.
func (s *PacketConn) ready() {
	if p := s.loop.packets; s.queue != nil && s.queue.again == 0 && s.fd >= 0 {
		s.loop.flushPosted()
		p.telling = false
		if s.sendQueued(); len(p.failures) > 0 {
			s.tell()
		}
	}
	s.receive()
}

// receive serves one batch and says whether there may be more.
func (s *PacketConn) receive() bool {
	if s.fd < 0 || s.ending {
		return false
	}
	s.loop.flushPosted()
	p := s.loop.packets
	p.stamp = 0
	mark := s.loop.mark()
	n, errno := p.receive(s.fd, s.opts.MaxDatagram, s.batchSize())
	more := n == s.batchSize() || errno != 0 && errno != unix.EAGAIN
	if more && edgeTriggered {
		_ = s.loop.postLoop(s.ready) // there is no second event for what is left
	}
	switch {
	case n > 0:
		s.loop.span(TraceDatagrams, nil, mark, n, s.batchSize())
		p.got, p.next, p.telling = n, 0, false
		s.serve()
	case more && errno != unix.EINTR:
		p.telling = false
		s.cameBack(errno)
		s.tell()
	}
	return more
}

// tell has SendError hear of what is noted.
func (s *PacketConn) tell() {
	p := s.loop.packets
	p.got, p.next, p.telling = 0, 0, false
	s.serve()
}

// cameBack notes an error that the network reported, by ICMP usually: a datagram sent before did not arrive. The
// kernel keeps one, and the call that tells it, of whichever kind, does nothing else and clears it.
func (s *PacketConn) cameBack(errno unix.Errno) {
	s.stats.ReceiveErrors++
	s.fail(netip.AddrPort{}, errno, true)
}

// fail notes what SendError is to be told.
func (s *PacketConn) fail(to netip.AddrPort, errno unix.Errno, came bool) {
	if s.peer != nil {
		to = s.RemoteAddr()
	}
	if p := s.loop.packets; s.failed != nil && !p.telling && len(p.failures) < maxBatch {
		p.failures = append(p.failures, failure{s, to, errno, came})
	}
}

// serve hands the rest of the batch to the handler and sends what it sent.
func (s *PacketConn) serve() {
	p := s.loop.packets
	p.running, p.ended = s, false
	defer s.served()
	for p.next < p.got || len(p.rest) > 0 {
		s.deliver(p)
		s.tellFailures(p)
	}
	s.flush()
	s.tellFailures(p)
	p.telling = true
	s.flush() // what SendError sent; told again, it could go on for ever
	p.running, p.d = nil, Datagram{}
	p.ended = true
}

// served ends serve. If a panic or Goexit did, the rest of the batch is served here, for the kernel has given it
// away. The handler gets nothing twice, so that ends.
func (s *PacketConn) served() {
	p := s.loop.packets
	if p.ended {
		return
	}
	value := recover()
	if value == nil {
		value = ErrGoexit // run's deferred left starts a new goroutine
	}
	s.loop.counts.Panics++
	s.loop.r.opts.Logger.Error("reactor: packet handler panicked",
		"listener", s.listener.String(), "value", value, "stack", string(debug.Stack()))
	s.flush() // before telling changes: if SendError crashed, what it sent fails unheard
	p.telling = false
	s.serve()
}

// deliver hands one datagram to the handler.
func (s *PacketConn) deliver(p *packets) {
	s.next(p)
	d := &p.d
	if s.closing || s.peer != nil && d.From != s.RemoteAddr() { // it came before the socket was connected
		return
	}
	s.stats.Received++
	if d.Truncated {
		s.stats.Truncated++
	}
	s.handler.Datagram(s, d)
}

// send takes p, into what is gathered while the socket's batch is served, otherwise to the kernel.
func (s *PacketConn) send(payload []byte, source netip.Addr, to netip.AddrPort) error {
	s.assertOnLoop()
	if s.fd < 0 || s.closing || s.ending {
		return s.opError(to, net.ErrClosed)
	}
	source, to = source.Unmap(), netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if source.IsUnspecified() {
		source = netip.Addr{}
	}
	errno := s.family.check(source, to.Addr())
	if errno == 0 && len(payload) > s.longest(to.Addr()) {
		errno = unix.EMSGSIZE
	}
	if errno == 0 && s.peer != nil && to != s.RemoteAddr() {
		errno = unix.EISCONN
	}
	if errno != 0 {
		return s.opError(to, os.NewSyscallError("sendmsg", errno))
	}
	if s.overflows() {
		return ErrOverflow
	}
	if p := s.loop.packets; p.running != s || p.posting {
		return s.sendNow(payload, source, to)
	}
	s.gather(payload, source, to)
	return nil
}

// gather has one datagram leave with others.
func (s *PacketConn) gather(payload []byte, source netip.Addr, to netip.AddrPort) {
	p := s.loop.packets
	if len(p.out) == maxBatch || len(p.gather)+len(payload) > packetGatherSize {
		s.flush()
	}
	p.add(payload, source, s.target(to))
}

// target returns the address that is to go with a datagram: none on a connected socket.
func (s *PacketConn) target(to netip.AddrPort) netip.AddrPort {
	if s.peer != nil {
		return netip.AddrPort{}
	}
	return to
}

// sendPosted is send for what Ref.Write posted; the failures are told when the turn's tasks have run.
func (s *PacketConn) sendPosted(payload []byte, source netip.Addr, to netip.AddrPort) {
	p := s.loop.packets
	if p.running != s {
		s.loop.flushPosted()
		p.running, p.posting, p.telling = s, true, false
	}
	if s.overflows() {
		s.stats.Unsent++
		s.fail(to, unix.ENOBUFS, false)
		return
	}
	s.gather(payload, source, to)
}

// flushPosted sends the datagrams that were posted and have gathered.
func (l *loop) flushPosted() {
	if p := l.packets; p != nil && p.posting {
		p.posting = false
		p.running.tell()
	}
}

// longest returns how many bytes one datagram to the address holds at most. Any goroutine.
func (s *PacketConn) longest(to netip.Addr) int {
	switch {
	case s.raw:
		return maxRaw
	case to.Is4():
		return maxPayload4
	}
	return maxPayload6
}

// check says why no socket of the family can send from source, if given, to the address.
func (f family) check(source, to netip.Addr) unix.Errno {
	switch {
	case !to.IsValid():
		return unix.EDESTADDRREQ
	case to.Is4() && f == familyIPv6, to.Is6() && f == familyIPv4, source.IsValid() && source.Is4() != to.Is4():
		return unix.EAFNOSUPPORT
	}
	return 0
}

// add gathers one datagram. There is room.
func (p *packets) add(payload []byte, source netip.Addr, to netip.AddrPort) {
	start := len(p.gather)
	p.gather = append(p.gather, payload...)
	p.out = append(p.out, outgoing{p.gather[start:], source, to})
}

// zoneIndex returns the number of the interface that the zone of an address names, 0 if there is none.
func zoneIndex(a netip.Addr) uint32 {
	zone := a.Zone()
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	return 0
}

// sendNow sends one datagram outside the socket's own batch. Another's batch may be gathering in the buffers it
// needs.
func (s *PacketConn) sendNow(payload []byte, source netip.Addr, to netip.AddrPort) error {
	p := s.loop.packets
	if p.running != nil {
		p.running.flush()
	}
	p.telling = p.telling && p.running != nil
	p.add(payload, source, s.target(to))
	defer p.sent()
	if s.queue != nil {
		s.keep(p.out, 0)
		return nil
	}
	n, errno := s.transmit(p.out, false)
	s.stats.Sent += uint64(n)
	if s.opts.MaxQueued > 0 && (errno == unix.EAGAIN || errno == unix.ENOBUFS) {
		s.keep(p.out, errno)
		return nil
	}
	if len(p.failures) > 0 && p.running == nil {
		_ = s.loop.postLoop(s.tell)
	}
	if errno != 0 {
		s.stats.Unsent++
		return s.opError(to, os.NewSyscallError("sendmsg", errno))
	}
	return nil
}

// flush gives the kernel what has gathered. What it refuses is lost: a full buffer costs all that is left, for
// they would be refused too.
func (s *PacketConn) flush() {
	p := s.loop.packets
	if s.queue != nil {
		s.keep(p.out, 0)
		p.sent()
		return
	}
	for out := p.out; len(out) > 0; {
		n, errno := s.transmit(out, s.grant.GSO)
		s.stats.Sent += uint64(n)
		out = out[n:]
		switch errno {
		case 0, unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS:
			if s.opts.MaxQueued > 0 {
				s.keep(out, errno)
				p.sent()
				return
			}
			n = len(out)
		default:
			n = 1
		}
		s.stats.Unsent += uint64(n)
		for _, o := range out[:n] {
			s.fail(o.to, errno, false)
		}
		out = out[n:]
	}
	p.sent()
}

// sent forgets what has gathered.
func (p *packets) sent() {
	clear(p.out)
	p.out, p.gather = p.out[:0], p.gather[:0]
}

// tellFailures calls SendError for what flush noted.
func (s *PacketConn) tellFailures(p *packets) {
	p.telling = true
	for len(p.failures) > 0 {
		f := p.failures[0]
		p.failures = slices.Delete(p.failures, 0, 1)
		op, call := "write", "sendmsg"
		if f.came {
			op, call = "read", "recvmsg"
		}
		s := f.conn
		if s.failed == nil {
			continue // its handler has had its Close
		}
		s.failed.SendError(s, f.to, datagramError(&s.listener.origin, op, f.to, os.NewSyscallError(call, f.errno)))
	}
	p.telling = false
}

// opError wraps an error of sending as package net does.
func (s *PacketConn) opError(to netip.AddrPort, err error) error {
	return datagramError(&s.listener.origin, "write", to, err)
}

func datagramError(o *origin, op string, to netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: o.network, Source: o.addr, Addr: net.UDPAddrFromAddrPort(to), Err: err}
}

// open puts the socket on its loop.
func (s *PacketConn) open() {
	l := s.loop
	if s.fd < 0 {
		return // closed before Serve
	}
	l.packetRoom(s.opts.MaxDatagram)
	l.sources = append(l.sources, s)
	if err := l.poller.set(s.fd, unregistered, s.wanted()); err != nil {
		l.r.opts.Logger.Error("reactor: not receiving", "listener", s.listener.String(), "err", err)
		s.closeFD()
		return
	}
	s.watched = s.wanted()
	if l.draining { // Shutdown overtook ListenPacket
		s.drain()
	}
}

// drain serves what waits and closes, also if the handler ends the goroutine, once its answers have left.
func (s *PacketConn) drain() {
	defer s.finish()
	for range maxDrainBatches {
		if !s.receive() {
			return
		}
	}
}

// closeFD closes the socket; what waits in it is lost. Handlers hear of it before, so that its number names nothing
// else meanwhile.
func (s *PacketConn) closeFD() {
	if s.fd < 0 {
		return
	}
	defer s.release() // this and the rest also if a handler ends the goroutine
	defer func() { s.sessions.endAll(s.closeCause()) }()
	if s.peer != nil {
		defer s.endDialled()
	}
	s.loop.flushPosted()
}

// closeCause is why peers end with the socket.
func (s *PacketConn) closeCause() error {
	switch {
	case s.closing:
		return s.peer.rare.cause
	case s.loop.draining:
		return ErrShutdown
	}
	return net.ErrClosed
}

// release gives the descriptor back.
func (s *PacketConn) release() {
	if s.fd < 0 {
		return
	}
	s.loseQueued()
	if s.loop.removeSource(s) && s.watched != unregistered {
		_ = s.loop.poller.set(s.fd, s.watched, unregistered)
	}
	removeTimers(&s.timers)
	s.listener.closeSocket(&s.fd)
}
