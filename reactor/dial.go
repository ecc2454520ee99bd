// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"
)

// A ConnectFunc makes the handler of a connection that was asked for. It is called exactly once, on the loop that the
// connection is for: with the connection and nil, when it is what an AcceptFunc is, or with nil and the reason why
// there is none, when what it returns does not matter. A panic on bad news is logged and costs nothing else.
type ConnectFunc func(c *Conn, err error) (Handler, error)

// The defaults of DialOptions.
const (
	DefaultDialTimeout   = 30 * time.Second
	DefaultFallbackDelay = 300 * time.Millisecond
)

// DialOptions configures a dial. nil and the zero value are the defaults.
type DialOptions struct {
	// Timeout bounds the whole dial, from the call on: looking up the name and trying all addresses. Several addresses
	// share what is left of it, 2 s each at least. 0 means 30 s; -1 no limit but the context's and the system's own
	// (about two minutes, tcp_syn_retries in tcp(7)).
	Timeout time.Duration

	// FallbackDelay is how long the first address family of a name is tried before the other is tried beside it, with
	// network tcp (RFC 6555). 0 means 300 ms; -1 tries all addresses one after the other.
	FallbackDelay time.Duration

	// Local is the address to connect from. With port 0 the system chooses one, with no address the port alone is
	// given; the zero value leaves both to the system. Only addresses of the same family are tried. TCP only.
	Local netip.AddrPort

	// Resolver looks up host names. nil means net.DefaultResolver.
	Resolver *net.Resolver

	// Stream configures the connection. Its Backlog and ReusePort are not looked at.
	Stream *StreamOptions
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o *DialOptions) resolve(network string) (DialOptions, error) {
	var r DialOptions
	if o != nil {
		r = *o
	}
	var c checker
	defaultTo(&c, "Timeout", &r.Timeout, DefaultDialTimeout, 0)
	defaultTo(&c, "FallbackDelay", &r.FallbackDelay, DefaultFallbackDelay, 0)
	if r.Local != (netip.AddrPort{}) && network == "unix" {
		c.fail("Local is %v, is for tcp only", r.Local)
	}
	r.Local = netip.AddrPortFrom(r.Local.Addr().Unmap(), r.Local.Port())
	r.Timeout, r.FallbackDelay = min(r.Timeout, maxDuration), min(r.FallbackDelay, maxDuration)
	if r.Resolver == nil {
		r.Resolver = net.DefaultResolver
	}
	stream, err := r.Stream.resolve()
	if err == nil && network == "unix" {
		err = stream.checkUnix()
	}
	if err != nil {
		c.fail("Stream: %w", err)
	}
	r.Stream = stream
	return r, c.err
}

// Dial connects to an address, on the loop with the fewest connections. The network is tcp, tcp4, tcp6 or unix. Host
// names are looked up off the loops, by at most 64 goroutines; no host means this one. Several addresses are tried as
// by net.Dialer: one after the other, and those of the second family beside those of the first after FallbackDelay;
// the first to connect is it. A full unix backlog is waited for.
//
// nil means that connected will be called exactly once; any other error, that it will not: ErrDialLimit, net.ErrClosed
// after Shutdown, and mistakes in network and options. connected gets a *net.OpError with Op "dial" around the cause:
// ErrDialTimeout, context.Canceled, net.ErrClosed if Shutdown came first, a *net.DNSError, or what the system said,
// as syscall.ECONNREFUSED. If all addresses failed it is the error of the first. ctx matters until connected is called.
//
// Dial may be called before Serve, when the connection is made as soon as the loops run, and in handlers. The
// connection is found by Lookup, ByID and Conns but does not count under MaxConns. nil options are the defaults.
func (r *Reactor) Dial(ctx context.Context, network, address string, connected ConnectFunc, o *DialOptions) error {
	return r.dial(ctx, r.loops[0].leastLoaded, network, address, connected, o)
}

// Dial is Reactor.Dial on the connection's own loop, so that the two connections can call each other's methods: for
// proxies. The dial does not end with c; cancel its context for that.
func (c *Conn) Dial(ctx context.Context, network, address string, connected ConnectFunc, o *DialOptions) error {
	c.assertOnLoop()
	return c.loop.r.dial(ctx, func() *loop { return c.loop }, network, address, connected, o)
}

// dial checks what can be wrong at once and hands the rest to the loop.
func (r *Reactor) dial(ctx context.Context, on func() *loop, network, address string, connected ConnectFunc, o *DialOptions) error {
	if connected == nil {
		return errors.New("reactor: Dial without a connect func")
	}
	opts, err := o.resolve(network)
	if err != nil {
		return err
	}
	d := &dial{connected: connected, ctx: ctx, opts: opts, address: address, deadline: never, fallbackAt: never}
	d.origin = &origin{
		network: network, addr: nameAddr{network, address}, opts: opts.Stream, dialled: true,
		accept: func(c *Conn) (Handler, error) { return connected(c, nil) },
	}
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return d.opError(d.origin.addr, net.UnknownNetworkError(network))
	}
	if opts.Timeout > 0 {
		d.deadline = coarse(r.now()+int64(opts.Timeout), opts.Timeout)
	}
	if at, ok := ctx.Deadline(); ok {
		d.deadline = min(d.deadline, r.now()+int64(time.Until(at)))
	}
	if err := r.handDial(d, on); err != nil {
		return d.opError(d.origin.addr, err)
	}
	return nil
}

// handDial gives d a place under MaxDials, and to its loop.
func (r *Reactor) handDial(d *dial, on func() *loop) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return net.ErrClosed
	}
	if n := r.dials.Add(1); n > int64(r.opts.MaxDials) {
		r.dials.Add(-1)
		return fmt.Errorf("%w: %d in progress", ErrDialLimit, n-1)
	}
	d.loop = on()
	d.loop.load.Add(1)
	err := d.loop.postLoop(d.begin)
	if err != nil {
		d.leave()
	}
	return err
}

// never is a moment of the reactor's clock that does not come.
const never = math.MaxInt64
