// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
	"golang.org/x/sys/unix"
)

// exampleDial connects to an example's server.
func exampleDial(address string) *net.TCPConn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// A server that has heard enough after the first line answers in peace, though the client goes on sending.
func ExampleConn_CloseRead() {
	r, address := exampleServer(func(*reactor.Conn) (reactor.Handler, error) {
		return reactor.Frames(codec.Line(80), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
			if err := c.CloseRead(); err != nil {
				return err
			}
			fmt.Fprintf(c, "no more after %q, please", line)
			return c.CloseWrite()
		})), nil
	}, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close()
	fmt.Fprint(conn, "one\n", strings.Repeat("and another\n", 100_000))
	answer, err := io.ReadAll(conn) // not destroyed by a reset
	fmt.Printf("%s %v\n", answer, err)
	// Output:
	// no more after "one", please <nil>
}

// Who does not keep to the protocol gets no more than a reset.
func ExampleConn_Abort() {
	ended := make(chan error, 1)
	h := &hooks{
		data: func(c *reactor.Conn, in []byte) (int, error) {
			if !bytes.HasPrefix(in, []byte("please")) {
				c.Abort()
			}
			return len(in), nil
		},
		close: func(_ *reactor.Conn, err error) { ended <- err },
	}
	r, address := exampleServer(func(*reactor.Conn) (reactor.Handler, error) { return h, nil }, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close()
	fmt.Fprint(conn, "now!")
	_, err := conn.Read(make([]byte, 1))
	fmt.Println(<-ended, errors.Is(err, syscall.ECONNRESET))
	// Output:
	// reactor: connection aborted true
}

// A server that writes much more than a client reads keeps no more than the high-water mark of it.
func ExampleConn_Blocked() {
	const size = 8 << 20
	left, most := size, 0
	write := func(c *reactor.Conn) {
		for piece := make([]byte, 32<<10); left > 0 && !c.Blocked(); left -= len(piece) {
			c.Write(piece)
			most = max(most, c.Unsent())
		}
		if left == 0 {
			c.Close()
		}
	}
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		c.AfterFunc(0, write)
		return &hooks{writable: write}, nil // on when output has fallen below the low-water mark
	}, nil)

	conn := exampleDial(address)
	defer conn.Close()
	n, _ := io.Copy(io.Discard, conn)
	r.Close()
	fmt.Println(n == size, most <= reactor.DefaultHighWater+64<<10)
	// Output:
	// true true
}

// A client may ask once in so long: what it sends meanwhile waits with it, for it is not read.
func ExampleConn_Pause() {
	const each = 5 * time.Millisecond
	lines := reactor.Frames(codec.Line(80), reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
		c.Pause() // the lines received already wait too
		c.AfterFunc(each, (*reactor.Conn).Resume)
		_, err := fmt.Fprintf(c, "%s\n", line)
		return err
	}))
	r, address := exampleServer(func(*reactor.Conn) (reactor.Handler, error) { return lines, nil }, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close()
	began := time.Now()
	fmt.Fprint(conn, "a\nb\nc\n")
	answers := make([]byte, len("a\nb\nc\n"))
	io.ReadFull(conn, answers)
	fmt.Printf("%s%t\n", answers, time.Since(began) >= 2*each)
	// Output:
	// a
	// b
	// c
	// true
}

// A client that does not take its answer has twenty milliseconds for each piece of it, however large the whole.
func ExampleConn_SetWriteDeadline() {
	ended := make(chan error, 1)
	h := &hooks{close: func(_ *reactor.Conn, err error) { ended <- err }}
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		if _, err := c.Write(make([]byte, 8<<20)); err != nil {
			return nil, err
		}
		return h, c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	}, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close() // having read nothing
	err := <-ended
	var unsent *reactor.UnsentError
	fmt.Println(errors.Is(err, reactor.ErrWriteTimeout), errors.As(err, &unsent))
	// Output:
	// true true
}

// SetDeadline is both: a client must speak, and listen.
func ExampleConn_SetDeadline() {
	ended := make(chan error, 1)
	h := &hooks{close: func(_ *reactor.Conn, err error) { ended <- err }}
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		return h, c.SetDeadline(time.Now().Add(20 * time.Millisecond))
	}, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close()
	var timeout net.Error
	fmt.Println(errors.As(<-ended, &timeout) && timeout.Timeout())
	// Output:
	// true
}

// One connection is set up otherwise than its listener's, and a value that is wrong is told.
func ExampleConn_SetKeepAlive() {
	told := make(chan error, 4)
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		told <- c.SetNoDelay(false)                               // many small writes, and nobody in a hurry
		told <- c.SetKeepAlive(10*time.Minute, 30*time.Second, 4) // a battery at the other end
		told <- c.SetSendBuffer(64 << 10)
		told <- c.SetRecvBuffer(0)
		return &hooks{}, nil
	}, nil)
	defer r.Close()

	defer exampleDial(address).Close()
	for range cap(told) {
		fmt.Println(<-told)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// reactor: RecvBuffer is 0, must be 1 to 1073741824
}

// An option that has no method here is set on the descriptor: the type of service, for low delay (RFC 1349).
func ExampleConn_SyscallConn() {
	const lowDelay = 0x10
	r, address := exampleServer(func(c *reactor.Conn) (reactor.Handler, error) {
		raw, err := c.SyscallConn()
		if err != nil {
			return nil, err
		}
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, lowDelay)
		})
		fmt.Fprint(c, "set: ", err, failed)
		c.Close()
		return &hooks{}, nil
	}, nil)
	defer r.Close()

	conn := exampleDial(address)
	defer conn.Close()
	answer, _ := io.ReadAll(conn)
	fmt.Printf("%s\n", answer)
	// Output:
	// set: <nil> <nil>
}
