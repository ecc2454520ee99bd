// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"container/heap"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

const (
	minShare       = 2 * time.Second        // of a dial's time for each of several addresses, as long as there is time
	maxOddities    = 2                      // attempts repeated for what the kernel should not have done, see line.attempt
	backlogFirst   = 5 * time.Millisecond   // the longest first wait for room in the backlog of a unix socket, doubled up to
	backlogLongest = 160 * time.Millisecond // so much
)

// A dial is one call of Dial, on its loop:
//
//	begin --a host name--> resolving, see resolve.go --resolved--> connecting
//	begin --any other address--> connecting: one line or two of addresses, each tried in order
//	connecting --succeed: a line has connected--> over: a Conn opens, its ConnectFunc is called
//	any --fail: no address left, deadline, context, Shutdown--> over: ConnectFunc(nil, err)
type dial struct {
	loop      *loop
	origin    *origin
	connected ConnectFunc
	ctx       context.Context    // the caller's; while resolving, one that ends with the dial too
	cancel    context.CancelFunc // of that one
	unwatch   func() bool        // stops waiting for the caller's
	opts      DialOptions
	address   string

	deadline   int64 // when it fails
	fallbackAt int64 // when the second line begins beside the first, until it has begun
	lines      [2]line
	resolving  bool // the resolver has it
	over       bool

	at        int64 // when to look again, at the latest
	heapIndex int32
}

// A line is the addresses of one family, or all; one of them is being tried, or none is left.
type line struct {
	dial     *dial
	addrs    []netip.AddrPort // not tried yet; of unix the one zero value
	trying   netip.AddrPort
	fd       int           // of the attempt, valid while watched
	watched  interest      // what fd is watched for
	until    int64         // when the attempt has failed
	again    int64         // when to ask whether the backlog has room
	backoff  time.Duration // how long the last wait for that was
	oddities int
	err      error // of the first address that failed
	done     bool
}

// dials are those of one loop, and the sockets that they wait for.
type dials struct {
	heap  schedule[*dial]
	lines map[int]*line // by descriptor number
}

// ready passes an event on to the line whose socket it names, if there is one.
func (ds *dials) ready(fd int) bool {
	ln := ds.lines[fd]
	if ln != nil {
		ln.ready()
	}
	return ln != nil
}

// begin is the dial's first step on its loop.
func (d *dial) begin() {
	l := d.loop
	heap.Push(&l.dials.heap, d)
	for i := range d.lines {
		d.lines[i] = line{dial: d, until: never, again: never}
	}
	if d.stop() {
		return
	}
	ctx := d.ctx
	if err := ctx.Err(); err != nil {
		d.fail(err)
		return
	}
	if ctx.Done() != nil {
		d.unwatch = context.AfterFunc(ctx, func() { _ = l.postLoop(func() { d.fail(ctx.Err()) }) })
	}
	if d.origin.network == "unix" {
		if err := checkPath(d.address); err != nil {
			d.fail(err)
			return
		}
		d.connect([]netip.AddrPort{{}})
		return
	}
	switch addrs, known, err := d.parse(); {
	case err != nil:
		d.fail(err)
	case known:
		d.connect(addrs)
	default:
		d.resolving = true
		d.ctx, d.cancel = context.WithCancel(ctx)
		l.r.resolver.add(d)
		d.arm()
	}
}

// resolved is told by the resolver.
func (d *dial) resolved(addrs []netip.AddrPort, err error) {
	d.resolving = false
	switch {
	case d.over:
		d.leave()
	case d.stop():
	case d.ctx.Err() != nil:
		d.fail(d.ctx.Err())
	case err != nil:
		d.fail(err)
	default:
		d.connect(addrs)
	}
}

// connect divides the addresses into lines, as RFC 6555 says: the family of the first goes first.
func (d *dial) connect(addrs []netip.AddrPort) {
	first, second := &d.lines[0], &d.lines[1]
	for _, a := range addrs {
		if d.origin.network == "tcp" && d.opts.FallbackDelay > 0 && a.Addr().Is4() != addrs[0].Addr().Is4() {
			second.addrs = append(second.addrs, a)
		} else {
			first.addrs = append(first.addrs, a)
		}
	}
	if len(second.addrs) > 0 {
		d.fallbackAt = coarse(d.loop.clock.now()+int64(d.opts.FallbackDelay), d.opts.FallbackDelay)
	}
	second.done = len(second.addrs) == 0
	first.advance()
	d.arm()
}

// advance tries the next addresses until an attempt is under way or has succeeded. A line at its end lets the other
// begin; the second to get there ends the dial.
func (ln *line) advance() {
	for len(ln.addrs) > 0 {
		ln.trying, ln.addrs = ln.addrs[0], ln.addrs[1:]
		ln.until = ln.dial.share(len(ln.addrs) + 1)
		ln.backoff, ln.oddities = 0, 0
		if ln.attempt() {
			return
		}
	}
	ln.done, ln.until = true, never
	first, second := &ln.dial.lines[0], &ln.dial.lines[1]
	switch {
	case ln.dial.fallbackAt != never:
		ln.dial.fallbackAt = never
		second.advance()
	case first.done && second.done:
		ln.dial.fail(first.err)
	}
}

// share returns until when one of n addresses may be tried.
func (d *dial) share(n int) int64 {
	if d.deadline == never {
		return never
	}
	t := d.loop.clock.now()
	left := d.deadline - t
	return t + max(left/int64(n), min(left, int64(minShare)))
}

// attempt connects to the address whose turn it is. It returns false if that failed at once; otherwise it is under
// way, or the dial is over.
func (ln *line) attempt() bool {
	d := ln.dial
	l := d.loop
	for {
		fd, err := d.socket(ln.trying)
		switch {
		case err == nil:
			var tuple FourTuple
			if tuple, err = d.tuple(fd); err == nil {
				d.succeed(fd, tuple, unregistered)
				return true
			}
			_ = unix.Close(fd)
		case errors.Is(err, unix.EINPROGRESS):
			if err = l.poller.set(fd, unregistered, interestWrite); err == nil {
				ln.fd, ln.watched = fd, interestWrite
				l.dials.lines[fd] = ln
				return true
			}
			_ = unix.Close(fd)
		}
		switch {
		case errors.Is(err, unix.EAGAIN) && d.origin.network == "unix":
			// The backlog is full. The socket would be reported writable at once, so a timer has to do; those who wait
			// look at the same moments.
			ln.backoff = min(max(2*ln.backoff, backlogFirst), backlogLongest)
			ln.again = (l.clock.now()/int64(ln.backoff) + 1) * int64(ln.backoff)
			return true
		case (errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)) && l.dropLingering():
		case ln.odd(err):
		default:
			ln.failed(err)
			return false
		}
	}
}

// errSelf is for a socket that met itself: who asks for a port of the range from which the system chooses local ones
// may get that very port as his own, and with nobody listening there TCP connects it to itself (RFC 9293, 3.5).
var errSelf error = os.NewSyscallError("connect", unix.ECONNREFUSED)

// odd says whether an attempt is worth repeating at once: another local port makes all the difference.
func (ln *line) odd(err error) bool {
	if (err == errSelf || errors.Is(err, unix.EADDRNOTAVAIL)) && ln.dial.opts.Local.Port() == 0 && ln.oddities < maxOddities {
		ln.oddities++
		return true
	}
	return false
}

// socket makes a socket and begins to connect it.
func (d *dial) socket(to netip.AddrPort) (int, error) {
	if d.origin.network == "unix" {
		fd, _, err := socket.UnixSocket("unix", d.address, false, d.opts.Stream.connOptions("unix"), nil)
		return fd, err
	}
	network, family := "tcp6", familyIPv6
	if to.Addr().Is4() {
		network, family = "tcp4", familyIPv4
	}
	options := d.opts.Stream.connOptions(network)
	if local := d.opts.Local; local != (netip.AddrPort{}) {
		if !local.Addr().IsValid() {
			local = netip.AddrPortFrom(unspecified(to.Addr()), local.Port())
		}
		options = append(options, bindTo(family, local))
	}
	fd, _, err := socket.TCPSocket(network, to.String(), false, options, nil)
	return fd, err
}

// bindTo is the option of a socket that is to connect from an address.
func bindTo(f family, local netip.AddrPort) socket.Option[int] {
	return socket.Option[int]{SetSockOpt: func(fd, _ int) error {
		return os.NewSyscallError("bind", unix.Bind(fd, sockaddr(f, local)))
	}}
}

// ready is called for an event of the socket, which may be about one that had its number before.
func (ln *line) ready() {
	if ln.dial.stop() {
		return
	}
	errno, err := unix.GetsockoptInt(ln.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		err = os.NewSyscallError("getsockopt", err)
	case errno != 0:
		err = os.NewSyscallError("connect", unix.Errno(errno))
	default:
		var tuple FourTuple
		if tuple, err = ln.dial.tuple(ln.fd); errors.Is(err, unix.ENOTCONN) {
			return // no error and yet not connected: still under way
		}
		if err == nil {
			delete(ln.dial.loop.dials.lines, ln.fd)
			watched := ln.watched
			ln.watched = unregistered
			ln.dial.succeed(ln.fd, tuple, watched)
			return
		}
	}
	ln.stop()
	if !ln.odd(err) {
		ln.failed(err)
		ln.advance()
	} else if !ln.attempt() {
		ln.advance()
	}
	ln.dial.arm()
}

// failed keeps the error of the line's first address.
func (ln *line) failed(err error) {
	if ln.err == nil {
		addr := ln.dial.origin.addr
		if ln.trying.IsValid() {
			addr = net.TCPAddrFromAddrPort(ln.trying)
		}
		ln.err = ln.dial.opError(addr, err)
	}
}

// stop ends the attempt under way, if there is one.
func (ln *line) stop() {
	ln.again = never
	if ln.watched != unregistered {
		delete(ln.dial.loop.dials.lines, ln.fd)
		_ = ln.dial.loop.poller.set(ln.fd, ln.watched, unregistered)
		_ = unix.Close(ln.fd)
		ln.watched = unregistered
	}
}

// succeed ends the dial and makes a connection of the socket, unless no more are opened: then it has failed.
func (d *dial) succeed(fd int, tuple FourTuple, watched interest) {
	if d.loop.aborting {
		if watched != unregistered {
			_ = d.loop.poller.set(fd, watched, unregistered)
		}
		_ = unix.Close(fd)
		d.fail(net.ErrClosed)
		return
	}
	d.end()
	d.loop.r.dials.Add(-1)
	d.loop.adopt(d.origin, fd, tuple, watched)
}

// tuple returns the socket's two addresses, or why it is not connected, at least not to another.
func (d *dial) tuple(fd int) (FourTuple, error) {
	t, err := d.origin.tupleOf(fd)
	if err == nil && t.Local == t.Remote && d.origin.network != "unix" && d.opts.Local.Port() == 0 {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // nothing shall be left of it
		err = errSelf
	}
	return t, err
}

// expire looks at what may be due.
func (d *dial) expire(t int64) {
	if d.stop() {
		return
	}
	if t >= d.deadline {
		d.fail(ErrDialTimeout)
		return
	}
	if t >= d.fallbackAt {
		d.fallbackAt = never
		d.lines[1].advance()
	}
	for i := range d.lines {
		ln := &d.lines[i]
		switch {
		case d.over:
			return
		case t >= ln.until:
			ln.stop()
			ln.failed(ErrDialTimeout)
			ln.advance()
		case t >= ln.again:
			ln.again = never
			if !ln.attempt() {
				ln.advance()
			}
		}
	}
	d.arm()
}

// arm sees to it that expire is called in time.
func (d *dial) arm() {
	if d.over {
		return
	}
	d.at = min(d.deadline, d.fallbackAt)
	for i := range d.lines {
		d.at = min(d.at, d.lines[i].until, d.lines[i].again)
	}
	heap.Fix(&d.loop.dials.heap, int(d.heapIndex))
	if d.at != never {
		d.loop.deadlines.arm(d.loop, d.at)
	}
}

// fail ends the dial with bad news.
func (d *dial) fail(cause error) {
	if d.over {
		return
	}
	if cause == context.DeadlineExceeded {
		cause = ErrDialTimeout
	}
	if _, wrapped := cause.(*net.OpError); !wrapped {
		cause = d.opError(d.origin.addr, cause)
	}
	d.end()
	if !d.resolving {
		d.leave()
	}
	d.loop.guard("connect func", func() { _, _ = d.connected(nil, cause) })
}

// stop fails the dial if Shutdown has begun and stopDials has not come to it yet, and says so: no connection opens any
// more.
func (d *dial) stop() bool {
	stopping := d.loop.draining || d.loop.stopped
	if stopping {
		d.fail(net.ErrClosed)
	}
	return stopping
}

// end closes what the dial holds.
func (d *dial) end() {
	d.over = true
	for i := range d.lines {
		d.lines[i].stop()
	}
	heap.Remove(&d.loop.dials.heap, int(d.heapIndex))
	if d.unwatch != nil {
		d.unwatch()
	}
	if d.cancel != nil {
		d.cancel()
	}
}

// leave gives the dial's places back, under MaxDials and on its loop.
func (d *dial) leave() {
	d.loop.r.dials.Add(-1)
	if d.loop.load.Add(-1); d.loop.draining {
		d.loop.wake() // it may wait for nothing else
	}
}

// opError wraps an error as net.Dial does.
func (d *dial) opError(to net.Addr, err error) error {
	e := &net.OpError{Op: "dial", Net: d.origin.network, Addr: to, Err: err}
	if d.opts.Local != (netip.AddrPort{}) {
		e.Source = net.TCPAddrFromAddrPort(d.opts.Local)
	}
	return e
}

// stopDials has all dials of the loop fail, by a task each: what they call may end the goroutine.
func (l *loop) stopDials() {
	for _, d := range l.dials.heap {
		_ = l.postLoop(func() { d.fail(net.ErrClosed) })
	}
}

// runDials looks at the dials for which it is time.
func (l *loop) runDials(t int64) {
	for h := &l.dials.heap; len(*h) > 0 && (*h)[0].at <= t; {
		(*h)[0].expire(t)
	}
}

func (d *dial) before(other *dial) bool { return d.at < other.at }
func (d *dial) place(i int32)           { d.heapIndex = i }
