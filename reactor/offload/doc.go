// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package offload runs work that blocks, or computes for long, away from the loops of package reactor, on a bounded
// number of goroutines. The loops go on serving everyone else.
//
// A whole service may block behind Frames: each frame is a request, and what its handler returns is the reply.
//
//	pool, err := offload.New(offload.Options{Workers: 64})
//	...
//	lines := codec.Line(4096)
//	service := offload.Frames(pool, lines, lines, offload.FrameFunc(
//		func(ctx context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
//			return lookUp(ctx, string(line)) // a database, a file, another server
//		}))
//	_, err = r.Listen("tcp", ":7000", func(*reactor.Conn) (reactor.Handler, error) { return service, nil }, nil)
//
// Do is for handlers that run on the loop and have only some of their work done elsewhere.
//
// # What is kept
//
// The work of one connection is begun in the order in which it was given, and its answers come in that order too,
// also where Options.Parallel has several pieces run at a time. The connections with work take turns for the workers.
//
// A connection with work outstanding is held (reactor.Conn.Hold): the peer may shut down its writing half, and
// Reactor.Shutdown may begin, before the answers are out.
//
// When a connection closes, the context of its work is done, with the cause, and work that has not begun is not begun.
// Work that panics, or calls runtime.Goexit, closes its connection with a *reactor.PanicError and harms nothing else.
//
// # What is bounded
//
// Goroutines, by Workers. Work outstanding for one connection, by Queue, its bytes by QueueBytes, and those of all
// connections by MaxBuffered: at any of these marks the connection's input stops (reactor.Conn.Suspend) until half of
// it is done. So a client that floods fills its own queue, its own receive window and no more.
//
// # The goroutines
//
// A worker is a plain goroutine that begins when there is work and ends when there is none. A pool that keeps its
// goroutines, as ants does, would save a fraction of a microsecond for each; it would also wake up twice a second to
// look for idle ones, start such a pool where it is only imported, and still need the queues here, for order, turns
// and bounds are by connection.
//
// # Reading order
//
// pool.go has Options, the pool and its workers; queue.go the work of one connection, between its loop and the workers;
// do.go and frames.go the two kinds of work.
package offload
