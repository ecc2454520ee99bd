// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"sync/atomic"

	"github.com/cloudwego/netpoll"
)

// serveNetpoll is cloudwego's netpoll with its nocopy API: what a Writer is given stays until Flush has sent it, what a
// Reader returned until Release. A handler runs on a goroutine of netpoll's pool and may block, as RPC servers on
// netpoll do.
func serveNetpoll(c config, listening func()) error {
	if c.network == "udp" {
		return noService(c)
	}
	handle, options := netpollService(c)
	if handle == nil {
		return noService(c)
	}
	err := netpoll.Configure(netpoll.Config{PollerNum: c.loops, BufferSize: c.buffer, LoadBalance: netpoll.RoundRobin})
	if err != nil {
		return err
	}
	listener, err := netpoll.CreateListener(c.network, c.address)
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(handle, options...)
	if err != nil {
		return err
	}
	listening()
	return loop.Serve(listener)
}

func netpollService(c config) (netpoll.OnRequest, []netpoll.Option) {
	switch c.service {
	case "echo":
		return func(_ context.Context, conn netpoll.Connection) error {
			r, w := conn.Reader(), conn.Writer()
			data, err := r.Next(r.Len())
			if err != nil {
				return err
			}
			w.WriteBinary(data)
			err = w.Flush()
			r.Release()
			return err
		}, nil
	case "frames", "fixed":
		next := cutterOf(c)
		return func(_ context.Context, conn netpoll.Connection) error {
			w := conn.Writer()
			return netpollMessages(conn, next, func(message []byte) { w.WriteBinary(message) }, w.Flush)
		}, nil
	case "push":
		// One goroutine writes to a connection: netpoll does not allow more at a time.
		pushers := newHandoff(func(to netpoll.Connection, buf *[]byte, free func(*[]byte)) {
			to.Writer().WriteBinary(*buf)
			to.Writer().Flush()
			free(buf)
		})
		type number struct{}
		var conns atomic.Uint64
		prepare := netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			return context.WithValue(context.Background(), number{}, conns.Add(1))
		})
		return func(ctx context.Context, conn netpoll.Connection) error {
			r := conn.Reader()
			data, err := r.Next(r.Len())
			if err != nil {
				return err
			}
			pushers.give(ctx.Value(number{}).(uint64), conn, data)
			return r.Release()
		}, []netpoll.Option{prepare}
	case "broadcast":
		members := newRoom[netpoll.Connection]()
		prepare := netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			members.join(conn)
			conn.AddCloseCallback(func(conn netpoll.Connection) error {
				members.leave(conn)
				return nil
			})
			return context.Background()
		})
		return func(_ context.Context, conn netpoll.Connection) error {
			return netpollMessages(conn, prefixed, func(message []byte) {
				members.each(func(member netpoll.Connection) { // one writer at a time, too
					member.Writer().WriteBinary(message)
					member.Writer().Flush()
				})
			}, func() error { return nil })
		}, []netpoll.Option{prepare}
	}
	return nil, nil
}

// netpollMessages handles the messages that are there and waits for the rest of one that is not whole: the handler is
// called again at once while it leaves anything unread.
func netpollMessages(conn netpoll.Connection, next cutter, handle func([]byte), flush func() error) error {
	r := conn.Reader()
	for r.Len() > 0 {
		head, err := r.Peek(min(r.Len(), framePrefix))
		if err != nil {
			return err
		}
		n, err := next(head)
		if err != nil {
			return conn.Close()
		}
		if n == 0 {
			n = framePrefix
		}
		if n > r.Len() {
			if err := flush(); err != nil {
				return err
			}
			if _, err := r.Peek(n); err != nil {
				return err
			}
			continue
		}
		message, err := r.Next(n)
		if err != nil {
			return err
		}
		handle(message)
	}
	err := flush()
	r.Release()
	return err
}
