// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything here may take that is not measured.
const patience = 30 * time.Second

// The tests run the program as anybody would: built once, started as a process, spoken to over sockets, stopped by
// signals.
var binaries struct {
	dir     string
	program string
	plain   func() (string, error) // without the race detector, for what is measured
}

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "servers")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // for the test that runs it as somebody else
		panic(err)
	}
	binaries.dir = dir
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil { // each program would end a second later
		panic(err)
	}
	if signal.Ignored(syscall.SIGHUP) { // by nohup(1), say; what is caught here the programs do not inherit as ignored
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	if binaries.program, err = build("servers", buildFlags()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binaries.plain = func() (string, error) { return binaries.program, nil }
	if flags := buildFlags(); slices.Contains(flags, "-race=true") {
		binaries.plain = sync.OnceValues(func() (string, error) {
			return build("servers-plain", slices.DeleteFunc(flags, func(f string) bool { return f == "-race=true" }))
		})
	}
	return m.Run()
}

// buildFlags returns the flags that the test itself was built with, so that the program under test has the same tags.
func buildFlags() (flags []string) {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" || s.Key == "-tags" || s.Key == "-gcflags" {
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return flags
}

func build(name string, flags []string) (string, error) {
	path := filepath.Join(binaries.dir, name)
	cmd := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-o", path, "."})...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return path, nil
}

// A server is the program, running.
type server struct {
	t      *testing.T
	cmd    *exec.Cmd
	addrs  []string // of the lines on standard output, in their order
	stdout *buffer
	stderr *buffer
	exited chan struct{}
}

// start runs the program with args and waits until it listens: at a port of the system's choice where args name nothing
// else.
func start(t *testing.T, args ...string) *server {
	return startCommand(t, exec.Command(binaries.program), args...)
}

func startCommand(t *testing.T, cmd *exec.Cmd, args ...string) *server {
	t.Helper()
	listeners := count(args, "-listen")
	if listeners == 0 {
		args, listeners = append(args, "-listen", "tcp://127.0.0.1:0"), 1
	}
	s := launch(t, cmd, args...)
	t.Cleanup(s.cleanup)
	eventually(t, func() bool { return strings.Count(s.stdout.String(), "\n") == listeners || s.gone() }, "the server listens")
	for line := range strings.Lines(s.stdout.String()) {
		fields := strings.Fields(line)
		require.Len(t, fields, 3, line)
		require.Equal(t, "listening", fields[0])
		s.addrs = append(s.addrs, fields[2])
	}
	require.Len(t, s.addrs, listeners, "%s", s.stderr)
	return s
}

// launch starts cmd with args.
func launch(t *testing.T, cmd *exec.Cmd, args ...string) *server {
	t.Helper()
	s := &server{t: t, cmd: cmd, stdout: new(buffer), stderr: new(buffer), exited: make(chan struct{})}
	cmd.Args = append(cmd.Args, args...)
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	require.NoError(t, cmd.Start())
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	return s
}

func (s *server) cleanup() {
	if !s.gone() {
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	log := s.stderr.String()
	if s.t.Failed() {
		s.t.Logf("%v logged:\n%s", s.cmd.Args, log)
	}
	require.NotContains(s.t, log, "DATA RACE")
	require.NotContains(s.t, log, "panic")
}

func (s *server) gone() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

func (s *server) signal(sig os.Signal) { require.NoError(s.t, s.cmd.Process.Signal(sig)) }

// exit waits for the program's end and returns its exit code.
func (s *server) exit() int {
	s.t.Helper()
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.signal(syscall.SIGQUIT) // its goroutines go to the log
		<-s.exited
		require.Fail(s.t, "the server does not end")
	}
	return s.cmd.ProcessState.ExitCode()
}

// stop asks the program to end and expects that it does so in order.
func (s *server) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	require.Zero(s.t, s.exit(), "%s", s.stderr)
}

func (s *server) network() string {
	if strings.ContainsRune(s.addrs[0], '/') {
		return "unix"
	}
	return "tcp"
}

// dial connects to the first address.
func (s *server) dial() conn {
	s.t.Helper()
	c, err := net.DialTimeout(s.network(), s.addrs[0], patience)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { c.Close() })
	require.NoError(s.t, c.SetDeadline(time.Now().Add(patience)))
	return c.(conn)
}

// ask sends request, ends its writing half and returns all that comes until a clean end.
func (s *server) ask(request []byte) []byte {
	s.t.Helper()
	c := s.dial()
	defer c.Close()
	_, err := c.Write(request)
	require.NoError(s.t, err)
	require.NoError(s.t, c.CloseWrite())
	answer, err := io.ReadAll(c)
	require.NoError(s.t, err)
	return answer
}

// refuses waits until nobody can connect any more.
func (s *server) refuses() {
	s.t.Helper()
	eventually(s.t, func() bool {
		c, err := net.Dial(s.network(), s.addrs[0])
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
	}, "new connections are refused")
}

// logs waits for a line on standard error that holds all the words.
func (s *server) logs(words ...string) {
	s.t.Helper()
	eventually(s.t, func() bool {
		for line := range strings.Lines(s.stderr.String()) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return true
			}
		}
		return false
	}, "a log line with %q", words)
}

// A conn is a stream that can be half closed.
type conn interface {
	net.Conn
	CloseWrite() error
}

// A result is what is left of a program that has ended.
type result struct {
	code           int
	stdout, stderr string
}

// runToEnd runs the program, which is expected to end by itself.
func runToEnd(t *testing.T, args ...string) result {
	t.Helper()
	return runCommand(t, exec.Command(binaries.program), args...)
}

func runCommand(t *testing.T, cmd *exec.Cmd, args ...string) result {
	t.Helper()
	s := launch(t, cmd, args...)
	return result{s.exit(), s.stdout.String(), s.stderr.String()}
}

// A buffer is a bytes.Buffer for a process to write to and a test to read from.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func eventually(t *testing.T, condition func() bool, what string, args ...any) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			require.FailNow(t, "waited in vain: "+fmt.Sprintf(what, args...))
		}
	}
}

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

// socketPath returns a path that is short enough for a socket, which t.TempDir need not be.
func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "q")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "socket")
}

// inParallel calls fn with 0 to n-1, each on a goroutine, and expects that none fails.
func inParallel(t *testing.T, n int, fn func(i int) error) {
	t.Helper()
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- fn(i) }()
	}
	for range n {
		require.NoError(t, <-errs)
	}
}

// random is an endless stream of bytes; the same seed gives the same again.
func random(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// sendRandom writes the first n bytes of random(seed) in pieces of random sizes.
func sendRandom(w io.Writer, seed byte, n int) error {
	source := random(seed)
	sizes := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
	buf := make([]byte, 256<<10)
	for n > 0 {
		piece := buf[:min(n, 1+sizes.IntN(1<<sizes.IntN(19)))]
		if _, err := source.Read(piece); err != nil {
			return err
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		n -= len(piece)
	}
	return nil
}

// expectRandom reads n bytes and compares them with the first of random(seed).
func expectRandom(r io.Reader, seed byte, n int) error {
	return expect(r, random(seed), n)
}

// expect reads n bytes from got and compares them with those of want.
func expect(got, want io.Reader, n int) error {
	g, w := make([]byte, 64<<10), make([]byte, 64<<10)
	for done := 0; done < n; {
		part, err := got.Read(g[:min(len(g), n-done)])
		if _, err := io.ReadFull(want, w[:part]); err != nil {
			return err
		}
		if !bytes.Equal(g[:part], w[:part]) {
			return fmt.Errorf("one of the bytes %d to %d differs", done, done+part)
		}
		if done += part; err != nil && done < n {
			return fmt.Errorf("after %d of %d bytes: %w", done, n, err)
		}
	}
	return nil
}

// expectEnd expects the clean end of the stream: no byte more, and no reset.
func expectEnd(r io.Reader) error {
	b, err := bufio.NewReader(r).ReadByte()
	if err != io.EOF {
		return fmt.Errorf("want the end of the stream, got byte %#x, error %v", b, err)
	}
	return nil
}
