// Foreign is a stock grpc-go client of the echo contract of packages/testkit/src/echo-contract.ts, and a stock grpc-go
// server of helloworld.Greeter with reflection and health.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const echo = "/hms.test.v1.EchoService/"

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: foreign client ADDRESS | server ADDRESS")
		os.Exit(2)
	}
	run := map[string]func(string) error{"client": runClient, "server": runServer}[os.Args[1]]
	if err := run(os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runClient makes every kind of call and prints what came back, as one JSON object.
func runClient(address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer t", "x-request-id", "go-1")
	result := map[string]any{
		"unary":        unary(ctx, conn, "Unary", "hello", 5*time.Second),
		"error":        unary(ctx, conn, "Unary", "fail", 5*time.Second),
		"details":      details(ctx, conn),
		"unknown":      unary(ctx, conn, "Nothing", "a", 5*time.Second),
		"late":         unary(ctx, conn, "Unary", "hang", 100*time.Millisecond),
		"large":        len(unary(ctx, conn, "Unary", strings.Repeat("x", 3<<20), 10*time.Second)),
		"serverStream": stream(ctx, conn, "ServerStream", []string{"a,b,c"}),
		"clientStream": stream(ctx, conn, "ClientStream", []string{"a", "b", "c"}),
		"bidi":         stream(ctx, conn, "Bidi", []string{"a", "b", "c"}),
		"concurrent":   concurrent(ctx, conn, 200),
		"health":       check(conn),
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func unary(ctx context.Context, conn *grpc.ClientConn, method, value string, timeout time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var answer wrapperspb.StringValue
	if err := conn.Invoke(ctx, echo+method, wrapperspb.String(value), &answer); err != nil {
		return fmt.Sprintf("error %s: %s", status.Code(err), status.Convert(err).Message())
	}
	return answer.Value
}

func details(ctx context.Context, conn *grpc.ClientConn) string {
	var answer wrapperspb.StringValue
	err := conn.Invoke(ctx, echo+"Unary", wrapperspb.String("details"), &answer)
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return fmt.Sprintf("%s %s %s", info.Domain, info.Reason, info.Metadata["holder"])
		}
	}
	return fmt.Sprint(err)
}

func stream(ctx context.Context, conn *grpc.ClientConn, method string, values []string) []string {
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	call, err := conn.NewStream(ctx, description, echo+method)
	if err != nil {
		return []string{err.Error()}
	}
	for _, value := range values {
		if err := call.SendMsg(wrapperspb.String(value)); err != nil {
			return []string{err.Error()}
		}
	}
	call.CloseSend()
	var seen []string
	for {
		var answer wrapperspb.StringValue
		if err := call.RecvMsg(&answer); err == io.EOF {
			return seen
		} else if err != nil {
			return append(seen, err.Error())
		}
		seen = append(seen, answer.Value)
	}
}

func concurrent(ctx context.Context, conn *grpc.ClientConn, calls int) int {
	var right sync.Map
	var group sync.WaitGroup
	for n := range calls {
		group.Go(func() {
			value := fmt.Sprintf("n%d", n)
			if strings.HasPrefix(unary(ctx, conn, "Unary", value, 10*time.Second), value+" ") {
				right.Store(n, true)
			}
		})
	}
	group.Wait()
	count := 0
	right.Range(func(any, any) bool { count++; return true })
	return count
}

func check(conn *grpc.ClientConn) string {
	answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
	if err != nil {
		return err.Error()
	}
	return answer.Status.String()
}

type greeter struct {
	pb.UnimplementedGreeterServer
}

func (greeter) SayHello(ctx context.Context, request *pb.HelloRequest) (*pb.HelloReply, error) {
	if sent, _ := metadata.FromIncomingContext(ctx); len(sent.Get("authorization")) > 0 {
		return nil, status.Error(codes.PermissionDenied, "credentials of others are none of my business")
	}
	if request.Name == "" {
		failure, _ := status.New(codes.InvalidArgument, "nobody").WithDetails(&errdetails.ErrorInfo{Reason: "NO_NAME"})
		return nil, failure.Err()
	}
	return &pb.HelloReply{Message: "Hello " + request.Name}, nil
}

// runServer serves until its input ends.
func runServer(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterGreeterServer(server, greeter{})
	healthpb.RegisterHealthServer(server, health.NewServer())
	reflection.Register(server)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		server.Stop()
	}()
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}
