// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// serveGoroutine is package net with a goroutine for each connection. Frames go through bufio, flushed when the next one
// is not there yet.
func serveGoroutine(c config, listening func()) error {
	if c.network == "udp" {
		if c.service != "echo" {
			return noService(c)
		}
		return goroutineDatagrams(c, listening)
	}
	serve := goroutineService(c)
	if serve == nil {
		return noService(c)
	}
	lis, err := net.Listen(c.network, c.address)
	if err != nil {
		return err
	}
	listening()
	return acceptAll(lis, serve)
}

// acceptAll has each connection served by a goroutine of its own.
func acceptAll(lis net.Listener, serve func(net.Conn)) error {
	for {
		conn, err := lis.Accept()
		if err != nil {
			if ne, ok := err.(interface{ Temporary() bool }); ok && ne.Temporary() {
				time.Sleep(acceptPause)
				continue
			}
			return err
		}
		go func() {
			defer conn.Close()
			serve(conn)
		}()
	}
}

// acceptPause is how long to wait when descriptors have run out; net/http starts at 5 ms too.
const acceptPause = 5 * time.Millisecond

// goroutineService returns nil for a service that is not known.
func goroutineService(c config) func(net.Conn) {
	switch c.service {
	case "echo":
		return func(conn net.Conn) {
			buf := make([]byte, c.buffer)
			for {
				n, err := conn.Read(buf)
				if n > 0 {
					if _, err := conn.Write(buf[:n]); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		}
	case "frames":
		return func(conn net.Conn) { goroutineFrames(conn, c.buffer, nextFrame) }
	case "fixed":
		return func(conn net.Conn) {
			goroutineFrames(conn, c.buffer, func(*frameReader) (int, error) { return c.size, nil })
		}
	case "push":
		return goroutinePush(c)
	case "broadcast":
		members := newRoom[*outbox]()
		return func(conn net.Conn) { goroutineBroadcast(conn, members, c.buffer) }
	}
	return nil
}

// A frameReader reads frames; before it would wait, what was written is flushed.
type frameReader struct {
	r     *bufio.Reader
	flush func() error
	large []byte // for frames that do not fit into r
}

func newFrameReader(conn net.Conn, buffer int, flush func() error) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(conn, buffer), flush: flush}
}

// peek returns the next n bytes without consuming them; n is at most the size of the buffer.
func (f *frameReader) peek(n int) ([]byte, error) {
	if f.r.Buffered() < n {
		if err := f.flush(); err != nil {
			return nil, err
		}
	}
	return f.r.Peek(n)
}

// next returns the next n bytes, valid until the next call.
func (f *frameReader) next(n int) ([]byte, error) {
	if n <= f.r.Size() {
		p, err := f.peek(n)
		if err == nil {
			_, err = f.r.Discard(n)
		}
		return p, err
	}
	if err := f.flush(); err != nil {
		return nil, err
	}
	if cap(f.large) < n {
		f.large = make([]byte, n)
	}
	_, err := io.ReadFull(f.r, f.large[:n])
	return f.large[:n], err
}

// nextFrame returns the size of the next frame, its prefix included.
func nextFrame(f *frameReader) (int, error) {
	head, err := f.peek(framePrefix)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head)
	if n > maxFrame {
		return 0, fmt.Errorf("frame of %d bytes", n)
	}
	return framePrefix + int(n), nil
}

func goroutineFrames(conn net.Conn, buffer int, size func(*frameReader) (int, error)) {
	w := bufio.NewWriterSize(conn, buffer)
	defer w.Flush() //nolint:errcheck // the peer is gone
	f := newFrameReader(conn, buffer, w.Flush)
	for {
		n, err := size(f)
		if err != nil {
			return
		}
		frame, err := f.next(n)
		if err != nil {
			return
		}
		if _, err := w.Write(frame); err != nil {
			return
		}
	}
}

func goroutinePush(c config) func(net.Conn) {
	pushers := newHandoff(func(to net.Conn, buf *[]byte, free func(*[]byte)) {
		_, _ = to.Write(*buf)
		free(buf)
	})
	var conns atomic.Uint64
	return func(conn net.Conn) {
		id := conns.Add(1)
		buf := make([]byte, c.buffer)
		for {
			n, err := conn.Read(buf)
			if n > 0 {
				pushers.give(id, conn, buf[:n])
			}
			if err != nil {
				return
			}
		}
	}
}

// An outbox is the messages that wait for one connection's writing goroutine.
type outbox struct {
	conn     net.Conn
	messages chan []byte
}

// outboxLength is how many messages may wait; a connection that takes longer is closed.
const outboxLength = 1024

func goroutineBroadcast(conn net.Conn, members *room[*outbox], buffer int) {
	out := &outbox{conn, make(chan []byte, outboxLength)}
	go out.write(buffer)
	members.join(out)
	defer close(out.messages)
	defer members.leave(out)
	f := newFrameReader(conn, buffer, func() error { return nil })
	for {
		n, err := nextFrame(f)
		if err != nil {
			return
		}
		frame, err := f.next(n)
		if err != nil {
			return
		}
		message := append([]byte(nil), frame...)
		members.each(func(o *outbox) {
			select {
			case o.messages <- message:
			default:
				o.conn.Close()
			}
		})
	}
}

// write writes what arrives, together what waits together.
func (o *outbox) write(buffer int) {
	w := bufio.NewWriterSize(o.conn, buffer)
	for m := range o.messages {
		_, err := w.Write(m)
		if err == nil && len(o.messages) == 0 {
			err = w.Flush()
		}
		if err != nil {
			o.conn.Close() // the reader ends, and with it this
		}
	}
}

// goroutineDatagrams has one socket and one goroutine for each loop of the others; the kernel spreads clients over
// sockets.
func goroutineDatagrams(c config, listening func()) error {
	lc := net.ListenConfig{}
	if c.loops > 1 {
		lc.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			_ = raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			return err
		}
	}
	failed := make(chan error)
	for range c.loops {
		pc, err := lc.ListenPacket(context.Background(), c.network, c.address)
		if err != nil {
			return err
		}
		go func() { failed <- echoDatagrams(pc.(*net.UDPConn)) }()
	}
	listening()
	return <-failed
}

func echoDatagrams(conn *net.UDPConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
	}
}
