# Python code in HMS-ETL, as HMS-FFI's integration plan prints it (section 4.3)
from hms_ffi.client import Client

class FinancialTransactionProcessor:
    def __init__(self):
        # Create FFI client for HMS-ACH transaction service
        self.ach_client = Client("hms.ach.transaction")

    async def process_transactions(self, transactions):
        results = []

        for transaction in transactions:
            # Process each transaction via FFI
            try:
                result = await self.ach_client.call_async("ProcessTransaction", {
                    "type": transaction["type"],
                    "amount": transaction["amount"],
                    "source_account_id": transaction["source"],
                    "destination_account_id": transaction["destination"],
                    "description": transaction["description"]
                })
                results.append({"id": transaction["id"], "status": "success", "result": result})
            except Exception as e:
                results.append({"id": transaction["id"], "status": "error", "error": str(e)})

        return results


if __name__ == "__main__":
    import asyncio
    import json
    import sys

    print(json.dumps(asyncio.run(FinancialTransactionProcessor().process_transactions(json.load(sys.stdin)))))
