// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package reactor serves stream and datagram sockets from a few event loops, with the guarantees that package net gives a
// goroutine for each connection.
//
// A program makes a Reactor, gives it addresses to listen on and serves until its context is done:
//
//	r, err := reactor.New(reactor.Options{}) // one loop per CPU
//	...
//	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
//		_, err := c.Write(in)
//		return len(in), err
//	})
//	_, err = r.Listen("tcp", ":7", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil)
//	...
//	err = r.Serve(ctx) // until ctx is done, then drains
//
// # Handlers and loops
//
// Each connection belongs to one loop, a single goroutine, for life. All methods of its Handler run there, one at a
// time, so a handler's state needs no lock; and none may block, for the other connections of the loop wait meanwhile:
// package offload has such work done elsewhere. A *Conn stays on its loop as well. What leaves it is a Ref, which any
// goroutine may keep for ever and which reaches the connection through its loop's mailbox. Lookup, ByID and Conns find
// the Ref of a connection.
//
// Frames puts a decoder of package codec between the bytes and the handler, so that it sees whole messages however
// the network cut them.
//
// Dial and Adopt put outgoing connections on the same loops: their handlers are no different. Conn.Dial puts one on
// the loop of another, so that a proxy's two sides can call each other. Conn.Hijack is the way back to package net.
//
// A Message is bytes that many connections send without a copy for each, a Group the connections that get the same
// ones.
//
// # Datagrams
//
// ListenPacket serves datagrams, with a socket on each loop, and AdoptPacket those of a raw or ping socket. A
// PacketHandler answers with Datagram.Reply, or Sessions keeps a handler with state for each sender. DialPacket
// connects a socket to one peer; package exchange asks such a peer again until it answers.
//
// # What is bounded
//
// Output that a peer does not take stops that peer's input at StreamOptions.HighWater, until it has fallen below
// LowWater: a server that answers requests is bounded without a line of code. Write refuses at MaxOutput. Input that
// a handler does not consume is bounded by MaxInput, everything together by Options.MaxBuffered, connections by
// MaxConns and for each peer by MaxPerPeer, their coming by AcceptRate, dials by MaxDials, work handed to a loop by
// MailboxLimit. Datagrams have PacketOptions.MaxDatagram and MaxQueued, sessions MaxSessions. Without descriptors the
// listeners wait and existing connections notice nothing.
//
// # Time
//
// IdleTimeout, WriteTimeout, FirstByteTimeout and FrameTimeout of StreamOptions, the deadlines of a Conn and the
// functions that AfterFunc has called on a loop (of a Conn, a PacketConn or the Reactor) share one timer of the
// runtime's for each loop. None is early; what is due at about the same time is done in one wake-up.
//
// # The end
//
// Close is called exactly once for each connection whose accept func made a handler: with nil if every byte written
// was taken by the kernel, with an *UnsentError that counts the bytes if not. A panic in a handler closes its
// connection and no other.
//
// After that a connection may linger. Closed with input unread, a socket would send a reset, which destroys output on
// its way; so the reactor shuts down the writing half and discards what still comes, until the peer ends too, 64 KiB
// have come, 2 s pass in silence or 10 s in all; less long when descriptors run out. No handler hears of it, but
// Shutdown and Serve wait for it.
//
// Shutdown, and Serve when its context is done, let each connection finish what it has begun. HandOver gives the
// listeners to a successor before that, so that nobody who connects is refused.
//
// # What is told
//
// Stats is what each loop and listener has done and holds, which package metrics shows to Prometheus and package
// inspect as JSON. Options.SlowHandler names handlers that hold their loop. A Trace records single events; package
// trace writes them down.
//
// # Reading order
//
//   - The API: handler.go and frames.go, options.go, conn.go, tuple.go, ref.go, shared.go and group.go, reactor.go,
//     listener.go, dial.go, adopt.go, errors.go; deadline.go and afterfunc.go for time, sockopt.go and syscallconn.go
//     for the descriptor and hijack.go, the way out.
//   - The loop: poller.go has the contract with the poller and interest_*.go its four interests, loop.go the turn,
//     mailbox.go, wake_*.go, timer.go and clock.go what wakes it.
//   - A connection: life.go draws and walks its states, input.go and buffer.go read, output.go writes, pressure.go is
//     the bound on all of them.
//   - Its beginning: accept.go and limits.go, dialing.go and resolve.go, unixsocket.go for the files of unix sockets,
//     registry.go for finding connections. The end of all: drain.go, and handover.go for a successor.
//   - Datagrams: packet.go and packet_options.go are the API, packet_conn.go sends and receives batches,
//     packet_control_*.go tells the addresses of each datagram, packet_offload.go has several travel as one,
//     packet_queue.go keeps what the kernel has no room for, packet_dial.go connects, packet_adopt.go takes over,
//     packet_session.go remembers senders, packet_peer.go is what Ref and Lookup know of both, packet_multicast.go
//     joins groups.
//   - What is seen of all this: stats.go and count.go for what is counted, reason.go and histogram.go for how,
//     measure.go for time, trace.go and trace_text.go for events.
//   - The system calls of the hot path are in sys_*.go, packet_linux.go and packet_plain.go. assert_race.go has race
//     builds check who calls what.
package reactor
