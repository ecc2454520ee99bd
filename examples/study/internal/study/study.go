// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package study is what the programs of the course share, from the second chapter on: the first writes it out.
//
// A program has the same server three ways, and for each way only what is done with one connection differs: Loop,
// Goroutines and Reactor do the rest. There is nobody to report an error to, so errors end a program; see Check.
package study

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/reactor"
)

// Patience is how long a client waits for what is not to happen. Whatever is to happen is waited for without a limit, so
// that a busy machine changes nothing that a program prints.
const Patience = 300 * time.Millisecond

// The names of the three ways.
const (
	ALoop      = "one blocking loop"
	Goroutines = "a goroutine a connection"
	TheReactor = "the reactor"
)

// Main runs a program: with an argument (loop, goroutines, reactor) only that way, for strace(1).
func Main(run func(w io.Writer, ways ...string)) {
	ways := []string{ALoop, Goroutines, TheReactor}
	if len(os.Args) > 1 {
		way, ok := map[string]string{"loop": ALoop, "goroutines": Goroutines, "reactor": TheReactor}[os.Args[1]]
		if !ok {
			fmt.Fprintf(os.Stderr, "%q: the servers are loop, goroutines and reactor\n", os.Args[1])
			os.Exit(2)
		}
		ways = []string{way}
	}
	run(os.Stdout, ways...)
}

// Check ends the program if there is an error.
func Check(err error) {
	if err != nil {
		panic(err)
	}
}

// Must is Check for functions with a result.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// A Server serves at 127.0.0.1 until it is stopped.
type Server struct {
	Addr string
	stop func()
}

// NewServer returns a Server that stop ends.
func NewServer(addr string, stop func()) *Server { return &Server{addr, stop} }

// Stop ends the server, once its clients have closed their connections.
func (s *Server) Stop() { s.stop() }

// Listen makes a socket that listens at a free port.
func Listen() (fd int, addr string) {
	fd = Must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	Check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	Check(unix.Listen(fd, 16))
	return fd, Address(fd)
}

// Address returns what a socket is bound to.
func Address(fd int) string {
	sa := Must(unix.Getsockname(fd)).(*unix.SockaddrInet4)
	return fmt.Sprintf("127.0.0.1:%d", sa.Port)
}

// Loop serves one connection after the other, with blocking calls on one goroutine: accept, serve, close.
func Loop(serve func(fd int)) *Server {
	lis, addr := Listen()
	var stopping atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(lis)
		for {
			fd, _, err := unix.Accept(lis)
			Check(err)
			if !stopping.Load() {
				serve(fd)
			}
			Check(unix.Close(fd))
			if stopping.Load() {
				return
			}
		}
	}()
	return &Server{addr, func() {
		stopping.Store(true)
		Wake(addr)
		<-done
	}}
}

// Go serves each connection on a goroutine of its own and closes it after that.
func Go(serve func(c *net.TCPConn)) *Server {
	lis := Must(net.Listen("tcp", "127.0.0.1:0"))
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := lis.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			Check(err)
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	return &Server{lis.Addr().String(), func() {
		lis.Close()
		wg.Wait()
	}}
}

// Wake connects to a server that waits in accept, which nothing else ends. It may have ended meanwhile.
func Wake(addr string) {
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
	}
}

// React serves all connections on one event loop.
func React(accept reactor.AcceptFunc, o *reactor.StreamOptions) *Server {
	r := Must(reactor.New(reactor.Options{Loops: 1}))
	lis := Must(r.Listen("tcp", "127.0.0.1:0", accept, o))
	return &Server{lis.Addr().String(), Serve(r)}
}

// Serve runs a reactor until the function that it returns is called.
func Serve(r *reactor.Reactor) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx) }()
	return func() {
		cancel()
		Check(<-served)
	}
}

// Dial connects a client.
func Dial(addr string) *net.TCPConn { return Must(net.Dial("tcp", addr)).(*net.TCPConn) }

// AnswerDuring is Answer while the server is busy with somebody who may keep it so: one blocking loop has Patience to
// answer, for it never will; the others have all the time they need.
func AnswerDuring(way string, c net.Conn) string {
	if way == ALoop {
		Check(c.SetReadDeadline(time.Now().Add(Patience)))
		defer c.SetReadDeadline(time.Time{})
	}
	return Answer(c)
}

// Answer waits for an answer and reads it at once: it fits a packet.
func Answer(c net.Conn) string {
	var buf [1024]byte
	n, err := c.Read(buf[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer yet"
	case errors.Is(err, unix.ECONNRESET):
		return "reset"
	case errors.Is(err, io.EOF):
		return "the end"
	}
	Check(err)
	return string(buf[:n])
}

// Pair makes two blocking sockets that are connected by TCP.
func Pair() (a, b int) {
	lis, _ := Listen()
	defer unix.Close(lis)
	a = Must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	Check(unix.Connect(a, Must(unix.Getsockname(lis))))
	b, _, err := unix.Accept(lis)
	Check(err)
	return a, b
}

// Arrived waits until so many bytes can be received from a blocking socket, and leaves them there.
func Arrived(fd, bytes int) {
	n, _, err := unix.Recvfrom(fd, make([]byte, bytes), unix.MSG_PEEK|unix.MSG_WAITALL)
	Check(err)
	if n < bytes {
		panic(fmt.Sprintf("%d bytes came of %d", n, bytes))
	}
}

// Recv receives once, at most max bytes; "" is the peer's end.
func Recv(fd, max int) string {
	buf := make([]byte, max)
	return string(buf[:Must(TryRecv(fd, buf))])
}

// TryRecv receives once and reports the error. Where a time-out is set a signal ends recv even though its handler restarts
// system calls (signal(7)), and Go's runtime sends itself signals: then it waits anew.
func TryRecv(fd int, p []byte) (n int, err error) {
	for {
		if n, _, err = unix.Recvfrom(fd, p, 0); err != unix.EINTR {
			return n, err
		}
	}
}

// SendAll is Python's sendall: it sends until everything is sent. On a blocking socket of Linux one send does the same
// unless a signal interrupts it; nothing promises it, and x/sys's Send does not tell how much was sent.
func SendAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(fd, p, nil, nil, unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Timeout is settimeout for what is received: a recv that waits for longer fails with EAGAIN.
func Timeout(fd int, d time.Duration) {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	Check(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// Row prints a line of a table: the first column 26 wide, the others 24.
func Row(w io.Writer, cells ...string) {
	line := fmt.Sprintf("%-26s", cells[0])
	for _, cell := range cells[1:] {
		line += fmt.Sprintf("%-24s", cell)
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

// Connect makes a blocking socket with a receive buffer of about so many bytes and connects it.
func Connect(addr string, buffer int) (fd int) {
	to := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))
	fd = Must(unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0))
	Check(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)) // before connect: it limits the window
	Check(unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte(to.IP.To4()), Port: to.Port}))
	return fd
}
