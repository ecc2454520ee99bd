// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"time"
)

// The defaults of Options and StreamOptions.
const (
	DefaultMailboxLimit = 1 << 16
	DefaultDrainTimeout = 10 * time.Second
	DefaultMaxBuffered  = 1 << 30
	DefaultMaxDials     = 1 << 14

	DefaultHighWater         = 64 << 10
	DefaultLowWater          = 16 << 10
	DefaultMaxOutput         = 16 << 20
	DefaultMaxInput          = 1 << 20
	DefaultWriteTimeout      = 60 * time.Second
	DefaultKeepAliveIdle     = 15 * time.Second
	DefaultKeepAliveInterval = 15 * time.Second
	DefaultKeepAliveCount    = 9
)

// off is what turns a duration or a limit off.
const off = -1

// maxDuration is for ever: 146 years, to which the clock can be added.
const maxDuration = 1 << 62

// maxLoops bounds Loops; more would only be a mistake in the unit.
const maxLoops = 1 << 10

// Options configures a Reactor. The zero value is ready for use; each field's zero value is the default named there.
type Options struct {
	// Loops is the number of event loops, each one goroutine with a poller of its own; 1 to 1024.
	// 0 means one for each CPU that Go uses (GOMAXPROCS).
	Loops int

	// MaxConns bounds how many accepted stream connections are open at a time; beyond it the backlog holds what comes.
	// 0 and -1 mean no limit but the process's descriptors. Connections that only linger do not count, nor do those
	// that were dialled or adopted.
	MaxConns int

	// MaxDials bounds the dials in progress; beyond it Dial fails with ErrDialLimit. 0 means 16384; -1 no limit.
	MaxDials int

	// MaxBuffered bounds the bytes that all connections together hold, received and unconsumed or written and unsent.
	// Past it reading pauses everywhere and the connections that hold most are closed with ErrBufferLimit. 0 means a
	// quarter of GOMEMLIMIT where that is set, else 1 GiB; -1 no limit.
	MaxBuffered int64

	// MailboxLimit bounds the tasks that wait for one loop, posted by Ref's methods from elsewhere. Those that the loop
	// has taken out to run, as many at most, do not count. 0 means 65536.
	MailboxLimit int

	// DrainTimeout bounds how long Serve drains once its context is done. 0 means 10 s; -1 without end.
	DrainTimeout time.Duration

	// Measure has the loops time every event and the waiting of tasks, see LoopStats.EventTime and TaskLag. It costs two
	// readings of the clock an event; without it no clock is read for the sake of counting.
	Measure bool

	// SlowHandler is how long an event may hold its loop, handlers included, before the Logger is told, with the
	// handler's stack, and again when it is over. It costs what Measure costs, and a stop of all goroutines for a stack:
	// one is looked at only when ten times as long as the last took has passed. 0 and -1 mean never.
	SlowHandler time.Duration

	// Logger gets trouble that no handler hears of: panics, a listener that cannot accept. nil means slog.Default().
	Logger *slog.Logger
}

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o Options) resolve() (Options, error) {
	if o.Loops < 0 || o.Loops > maxLoops {
		return o, fmt.Errorf("reactor: Loops is %d, must be 0 to %d", o.Loops, maxLoops)
	}
	if o.Loops == 0 {
		o.Loops = min(runtime.GOMAXPROCS(0), maxLoops)
	}
	var c checker
	defaultTo(&c, "MaxConns", &o.MaxConns, math.MaxInt, math.MaxInt)
	defaultTo(&c, "MaxDials", &o.MaxDials, DefaultMaxDials, math.MaxInt)
	defaultTo(&c, "MaxBuffered", &o.MaxBuffered, maxBufferedDefault(), math.MaxInt64)
	defaultTo(&c, "DrainTimeout", &o.DrainTimeout, DefaultDrainTimeout, 0)
	defaultTo(&c, "SlowHandler", &o.SlowHandler, 0, 0)
	if o.MailboxLimit < 0 {
		c.fail("MailboxLimit is %d, must not be negative", o.MailboxLimit)
	}
	if o.MailboxLimit == 0 {
		o.MailboxLimit = DefaultMailboxLimit
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, c.err
}

// maxBufferedDefault leaves three quarters of a memory limit to everything that is not buffered bytes.
func maxBufferedDefault() int64 {
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		return limit / 4
	}
	return DefaultMaxBuffered
}

// StreamOptions configures a stream listener and the connections it accepts. nil and the zero value are the defaults.
type StreamOptions struct {
	// Backlog is how many connections wait to be accepted. 0 means the system's maximum (net.core.somaxconn on Linux),
	// which also bounds it, see listen(2).
	Backlog int

	// ReusePort gives each loop a listening socket of its own and lets the kernel spread connections over them
	// (SO_REUSEPORT, socket(7)). Without it one socket accepts and the loop with the fewest connections gets each.
	// TCP only.
	ReusePort bool

	// MaxPerPeer bounds how many connections one peer has open with the listener; further ones are reset and counted
	// (Listener.Stats). A peer is an IPv4 address, or the first 64 bits of an IPv6 address, which are the least that a
	// network has; each link-local address is one. Connections that only linger do not count, nor those hijacked. 0 and
	// -1 mean no limit. TCP only.
	MaxPerPeer int

	// AcceptRate bounds how many connections are accepted in a second; beyond it the backlog holds what comes, and
	// Shutdown waits for it. It is a token bucket that fills at this rate and holds AcceptBurst tokens, of which a
	// connection takes one and one that MaxPerPeer refuses none; both are 1 to a billion. AcceptRate 0 and -1 mean no limit,
	// AcceptBurst 0 what AcceptRate says.
	AcceptRate, AcceptBurst int

	// HighWater is the number of bytes of unsent output above which a connection's input is neither delivered nor read.
	// 0 means 64 KiB. A client that writes more than that at once to a server which answers as it reads, and which
	// stops reading likewise, may wait for it while it is waited for: such a client needs a mark above what it writes.
	HighWater int

	// LowWater is the number of bytes below which unsent output must fall before input goes on; at most HighWater. 0
	// means a quarter of HighWater, at most 16 KiB.
	LowWater int

	// MaxOutput is the number of bytes of unsent output at which Write fails with ErrOverflow; at least HighWater.
	// One Write may pass it. 0 means 16 MiB; -1 no limit.
	MaxOutput int

	// MaxInput bounds the bytes that a handler leaves unconsumed; more closes the connection with ErrInputLimit. 0
	// means 1 MiB; -1 no limit but 1 GiB. A codec that needs more than MaxInput for a frame (see Frames) has its way.
	MaxInput int

	// IdleTimeout closes a connection on which no byte was received and none taken by the kernel for so long, with
	// ErrIdleTimeout; never early, and late by at most a sixteenth of itself (so that thousands of timeouts share
	// a wake-up and no message asks the clock), or 2 ms if that is more, and what keeps the loop busy. A connection
	// that is held does not idle. 0 and -1 mean never.
	IdleTimeout time.Duration

	// FirstByteTimeout closes a connection from which no byte was received for so long after its accept func, with
	// ErrFirstByteTimeout; those dialled or adopted are exempt. It does not count while nothing is expected of the
	// peer (after its end, and while the connection is held, paused, suspended or blocked) and begins anew after that;
	// as precise as IdleTimeout. 0 and -1 mean never.
	FirstByteTimeout time.Duration

	// FrameTimeout closes a connection on which input has been left unconsumed for so long and nothing of it was
	// consumed, with ErrFrameTimeout: a frame that was begun and not finished, however its bytes drip. It does not
	// count while nothing is expected of the peer and is as precise, like FirstByteTimeout. 0 and -1 mean never.
	FrameTimeout time.Duration

	// WriteTimeout closes a connection whose peer has taken no byte of waiting output for so long, with
	// ErrWriteTimeout; late by at most a thirty-second of itself. 0 means 60 s; -1 never.
	WriteTimeout time.Duration

	// Nagle leaves Nagle's algorithm on (no TCP_NODELAY, tcp(7)).
	Nagle bool

	// KeepAliveIdle, KeepAliveInterval and KeepAliveCount are TCP's keep-alive probes: after how much silence the
	// first is sent, how far apart the next, and how many go unanswered before the connection is reset; the durations
	// in whole seconds, rounded up (TCP_KEEPIDLE and following, tcp(7)), up to 32,767 s and 127. 0 means 15 s, 15 s and
	// 9. KeepAliveIdle -1 sends none.
	KeepAliveIdle, KeepAliveInterval time.Duration
	KeepAliveCount                   int

	// UserTimeout is how long TCP lets sent data go unacknowledged, or a closed window stay closed, before it gives
	// the connection up with ETIMEDOUT; up to 24 days, in whole milliseconds, rounded up (TCP_USER_TIMEOUT, tcp(7)).
	// It also takes the place of KeepAliveCount. 0 and -1 leave it to the system, about 15 minutes. Linux and TCP only.
	UserTimeout time.Duration

	// RecvBuffer and SendBuffer are how many bytes the kernel is asked to hold of what was not yet read here or not yet
	// acknowledged by the peer (SO_RCVBUF, SO_SNDBUF, socket(7)), up to 1 GiB; Linux grants twice of what is asked for,
	// for its bookkeeping, up to limits of its own. 0 means the system's default, which grows with the traffic, as a
	// size set here does not. A unix connection has a SendBuffer only.
	RecvBuffer, SendBuffer int

	// FastOpen is how many connections may wait for the end of their handshake whose first data came with its
	// beginning, up to 65536 (TCP_FASTOPEN, tcp(7), RFC 7413): it saves such clients a round trip. It has an effect
	// only where net.ipv4.tcp_fastopen allows it to servers. 0 means none. Linux and TCP only.
	FastOpen int

	// DeferAccept lets a connection be accepted only when its first bytes are there, or when it has been silent for
	// about so long, up to an hour, in whole seconds, rounded up (TCP_DEFER_ACCEPT, tcp(7)). Not for protocols in which
	// the server speaks first. 0 and -1 mean at once. Linux and TCP only.
	DeferAccept time.Duration

	// BindToDevice names the network interface, 1 to 15 bytes, by which packets must come and go (SO_BINDTODEVICE,
	// socket(7)). "" means any. Linux and TCP only.
	BindToDevice string
}

// maxAcceptRate is a connection each nanosecond, of which the clock knows no fraction.
const maxAcceptRate = 1e9

// The bounds of StreamOptions that the system sets.
const (
	maxKeepAlive      = 32767 * time.Second // Linux's MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL
	maxKeepAliveCount = 127                 // and MAX_TCP_KEEPCNT
	maxUserTimeout    = 24 * 24 * time.Hour // an int32 of milliseconds
	maxDeferAccept    = time.Hour
	maxDeviceName     = 15 // IFNAMSIZ less its NUL
)

// resolve returns a copy with the defaults filled in, or what is wrong.
func (o *StreamOptions) resolve() (*StreamOptions, error) {
	var r StreamOptions
	if o != nil {
		r = *o
	}
	var c checker
	if r.Backlog < 0 {
		c.fail("Backlog is %d, must not be negative", r.Backlog)
	}
	r.resolveBuffers(&c)
	r.resolveTimeouts(&c)
	r.resolveKeepAlive(&c)
	r.resolveLimits(&c)
	r.resolveSocket(&c)
	return &r, c.err
}

// resolveBuffers is resolve for the marks and bounds of what is buffered.
func (o *StreamOptions) resolveBuffers(c *checker) {
	if o.HighWater < 0 || o.LowWater < 0 {
		c.fail("HighWater is %d and LowWater %d, must not be negative", o.HighWater, o.LowWater)
	}
	if o.HighWater == 0 {
		o.HighWater = DefaultHighWater
	}
	if o.LowWater == 0 {
		o.LowWater = min(o.HighWater/4, DefaultLowWater)
	}
	defaultTo(c, "MaxOutput", &o.MaxOutput, DefaultMaxOutput, math.MaxInt)
	defaultTo(c, "MaxInput", &o.MaxInput, DefaultMaxInput, math.MaxInt)
	if o.LowWater > o.HighWater {
		c.fail("LowWater is %d, must not exceed HighWater %d", o.LowWater, o.HighWater)
	}
	if o.HighWater > o.MaxOutput {
		c.fail("HighWater is %d, must not exceed MaxOutput %d", o.HighWater, o.MaxOutput)
	}
	o.HighWater = min(o.HighWater, o.MaxOutput-1) // at the limit is above the mark: who stops at the mark never meets the limit
}

// resolveTimeouts is resolve for what the reactor itself waits for.
func (o *StreamOptions) resolveTimeouts(c *checker) {
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"IdleTimeout", &o.IdleTimeout, 0},
		{"FirstByteTimeout", &o.FirstByteTimeout, 0},
		{"FrameTimeout", &o.FrameTimeout, 0},
		{"WriteTimeout", &o.WriteTimeout, DefaultWriteTimeout},
	} {
		defaultTo(c, d.name, d.v, d.def, 0)
		*d.v = min(*d.v, maxDuration)
	}
}

// resolveKeepAlive is resolve for the probes.
func (o *StreamOptions) resolveKeepAlive(c *checker) {
	defaultTo(c, "KeepAliveIdle", &o.KeepAliveIdle, DefaultKeepAliveIdle, 0)
	atMost(c, "KeepAliveIdle", max(o.KeepAliveIdle, 0), maxKeepAlive) // what else is negative was told above
	atMost(c, "KeepAliveInterval", o.KeepAliveInterval, maxKeepAlive)
	atMost(c, "KeepAliveCount", o.KeepAliveCount, maxKeepAliveCount)
	if o.KeepAliveInterval == 0 {
		o.KeepAliveInterval = DefaultKeepAliveInterval
	}
	if o.KeepAliveCount == 0 {
		o.KeepAliveCount = DefaultKeepAliveCount
	}
}

// resolveLimits is resolve for who may come, and how often.
func (o *StreamOptions) resolveLimits(c *checker) {
	defaultTo(c, "MaxPerPeer", &o.MaxPerPeer, math.MaxInt, math.MaxInt)
	defaultTo(c, "AcceptRate", &o.AcceptRate, math.MaxInt, math.MaxInt)
	atMost(c, "AcceptBurst", o.AcceptBurst, maxAcceptRate)
	switch {
	case o.AcceptRate != math.MaxInt:
		atMost(c, "AcceptRate", o.AcceptRate, maxAcceptRate)
		if o.AcceptBurst == 0 {
			o.AcceptBurst = o.AcceptRate
		}
	case o.AcceptBurst > 0:
		c.fail("AcceptBurst is %d, needs an AcceptRate", o.AcceptBurst)
	}
}

// resolveSocket is resolve for what the system does.
func (o *StreamOptions) resolveSocket(c *checker) {
	defaultTo(c, "UserTimeout", &o.UserTimeout, 0, 0)
	defaultTo(c, "DeferAccept", &o.DeferAccept, 0, 0)
	atMost(c, "UserTimeout", o.UserTimeout, maxUserTimeout)
	atMost(c, "DeferAccept", o.DeferAccept, maxDeferAccept)
	atMost(c, "RecvBuffer", o.RecvBuffer, maxSocketBuffer)
	atMost(c, "SendBuffer", o.SendBuffer, maxSocketBuffer)
	atMost(c, "FastOpen", o.FastOpen, maxBacklog)
	if len(o.BindToDevice) > maxDeviceName {
		c.fail("BindToDevice is %q, must be at most %d bytes", o.BindToDevice, maxDeviceName)
	}
}

// A checker keeps the first complaint.
type checker struct{ err error }

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("reactor: "+format, args...)
	}
}

// defaultTo replaces 0 by def and -1 by none, and complains about other negative values.
func defaultTo[T int | int64 | time.Duration](c *checker, name string, v *T, def, none T) {
	switch {
	case *v == 0:
		*v = def
	case *v == off:
		*v = none
	case *v < 0:
		c.fail("%s is %v, must be positive, 0 for the default or -1 for none", name, *v)
	}
}

// atMost complains about negative values and those above the limit.
func atMost[T int | time.Duration](c *checker, name string, v, limit T) {
	if v < 0 || v > limit {
		c.fail("%s is %v, must be 0 to %v", name, v, limit)
	}
}
