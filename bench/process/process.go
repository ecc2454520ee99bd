// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Spec says what server is to run.
type Spec struct {
	Server  string
	Service string
	Network string // tcp, udp or unix
	Loops   int
	Buffer  int
	Size    int
}

// A Process is a running server. Its methods may be called from any goroutine.
type Process struct {
	Spec    Spec
	Address string
	PID     int

	cmd    *exec.Cmd
	stderr tail
	ended  chan struct{}
	exit   error // valid when ended is closed
	socket string
}

// An UnsupportedError says that a server does not have a service.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

const (
	exitUnsupported = 3

	startTime = 10 * time.Second // until it listens
	stopTime  = 2 * time.Second  // from SIGTERM to SIGKILL
	attempts  = 5                // other ports, if one is taken
)

// Ports of servers are below those that Linux gives to clients (32768 and up) and above the well-known ones.
const firstPort, lastPort = 20000, 32000

// Start starts a server and waits until it listens.
func (p *Programs) Start(ctx context.Context, s Spec) (*Process, error) {
	var err error
	for range attempts {
		var run *Process
		if run, err = p.start(ctx, s); err == nil {
			return run, nil
		}
		var unsupported *UnsupportedError
		if errors.As(err, &unsupported) || ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func (p *Programs) start(ctx context.Context, s Spec) (*Process, error) {
	run := &Process{Spec: s, ended: make(chan struct{})}
	if s.Network == "unix" {
		run.socket = filepath.Join(p.dir, fmt.Sprintf("s%d", rand.Uint32()))
		run.Address = run.socket
	} else {
		port, err := freePort(s.Network)
		if err != nil {
			return nil, err
		}
		run.Address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	run.cmd = exec.Command(p.paths[s.Server], s.Server, s.Service, "-listen", s.Network+"://"+run.Address,
		"-loops", strconv.Itoa(s.Loops), "-buffer", strconv.Itoa(s.Buffer), "-size", strconv.Itoa(s.Size))
	run.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(s.Loops))
	run.cmd.Stderr = &run.stderr
	run.cmd.SysProcAttr = neverAlone()
	out, err := run.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := run.cmd.Start(); err != nil {
		return nil, err
	}
	run.PID = run.cmd.Process.Pid
	listening := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		line := ""
		for !strings.HasPrefix(line, "listening ") && lines.Scan() { // a library may have its say before
			line = lines.Text()
		}
		listening <- line
		_, _ = io.Copy(io.Discard, out)
		run.exit = run.cmd.Wait()
		close(run.ended)
	}()
	select {
	case line := <-listening:
		if want := "listening " + s.Network + " " + run.Address; line != want {
			return nil, run.failed(fmt.Sprintf("said %q, want %q", line, want))
		}
		return run, nil
	case <-time.After(startTime):
		return nil, run.failed(fmt.Sprintf("did not listen within %v", startTime))
	case <-ctx.Done():
		run.Stop()
		return nil, ctx.Err()
	}
}

// failed ends a server that did not come up, and says why that was.
func (p *Process) failed(how string) error {
	select {
	case <-p.ended:
	case <-time.After(100 * time.Millisecond):
		p.Stop()
	}
	if p.cmd.ProcessState != nil && p.cmd.ProcessState.ExitCode() == exitUnsupported {
		return &UnsupportedError{p.stderr.lastLine()}
	}
	return fmt.Errorf("server %s %s %s: %s", p.Spec.Server, p.Spec.Service, how, p.stderr.lastLine())
}

// Stop ends the process.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if p.socket != "" {
		_ = os.Remove(p.socket)
	}
}

// Ended says whether the process has ended by itself, and how.
func (p *Process) Ended() (string, bool) {
	select {
	case <-p.ended:
		return strings.TrimSuffix(fmt.Sprintf("%s: %s", p.cmd.ProcessState, p.stderr.lastLine()), ": "), true
	default:
		return "", false
	}
}

// freePort finds a port that nobody has at this moment.
func freePort(network string) (port int, err error) {
	for range 100 {
		port = firstPort + rand.IntN(lastPort-firstPort)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		var held io.Closer
		if network == "udp" {
			held, err = net.ListenPacket(network, address)
		} else {
			held, err = net.Listen(network, address)
		}
		if err == nil {
			return port, held.Close()
		}
	}
	return 0, err
}

// A tail keeps the last of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if len(t.text) > 2*outputKept {
		t.text = append(t.text[:0], t.text[len(t.text)-outputKept:]...)
	}
	return len(p), nil
}

func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.text))
	return text[strings.LastIndexByte(text, '\n')+1:]
}
